"""Who acts, and whether they may: operators change things, viewers look."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import Literal

Role = Literal["viewer", "operator"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody at the dashboard, the API or the command line; `name` goes into the audit log."""

    name: str
    role: Role = "viewer"


def require_operator(actor: Actor) -> None:
    """Raises:
    PermissionError: when the actor may only look.
    """
    if actor.role != "operator":
        raise PermissionError(
            f"expected the operator role, and {actor.name!r} has the role {actor.role!r}: nothing was changed; "
            "ask an operator to do it, or to give you the role"
        )


def system_user() -> str:
    """The name of the user this process runs as."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        return "unknown"
