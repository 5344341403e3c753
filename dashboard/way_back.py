"""Where somebody wanted to go, kept through a sign-in: a page's path with its filters, never another site's."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from starlette.responses import Response

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
#: Pages that do something when they are opened, or lead back here.
_NO_PLACES = (SIGN_IN, SIGN_OUT, "/auth/", "/oauth2callback")
#: A provider leads back to one address, the same for all; what was asked for stays here, with the browser.
_COOKIE = "jobs_way_back"
#: For an account to be chosen and a second factor to be found.
_SECONDS = 600
#: Browsers keep cookies of 4,096 bytes; no filters are as long.
_LONGEST = 3_000
#: As Starlette's redirects have it.
_IN_LOCATION = ":/%#?=@[]!$&'()*+,;"


def safe(there: str | None) -> str:
    """A path here; what leads elsewhere (//host, /\\host, https:) becomes the first page."""
    if not there or not there.startswith("/") or there[1:2] in {"/", "\\"} or not there.isprintable():
        return "/"
    return "/" if there.startswith(_NO_PLACES) else there


def remember(response: Response, there: str, *, secure: bool) -> None:
    """Has the browser keep the place until it comes back from the provider; one of excessive length is not kept."""
    value = quote(safe(there), safe="")
    if value == quote("/", safe="") or len(value) > _LONGEST:
        response.delete_cookie(_COOKIE)
    else:
        response.set_cookie(_COOKIE, value, max_age=_SECONDS, httponly=True, samesite="lax", secure=secure)


def recall(cookies: Mapping[str, str]) -> str | None:
    """The Location of the place that the browser kept; None when it kept none. Anybody may have written the cookie."""
    value = cookies.get(_COOKIE)
    return None if value is None else quote(safe(unquote(value)), safe=_IN_LOCATION)


def forgetting() -> str:
    """The Set-Cookie header that lets go of it."""
    response = Response()
    response.delete_cookie(_COOKIE)
    return response.headers["set-cookie"]
