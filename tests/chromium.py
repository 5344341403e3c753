"""Finding a Chromium for the browser tests, or installing one, once for all processes of a test run."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
#: The system's package managers, and what makes each install Chromium.
INSTALLERS = {
    "apt-get": ["apt-get update", "apt-get install -y --no-install-recommends chromium"],
    "dnf": ["dnf install -y chromium"],
    "apk": ["apk add --no-cache chromium"],
}
INSTALL_SECONDS = 900
#: Where the processes of one run tell each other what was found; xdist's workers inherit it.
_REPORT = "BROWSER_TESTS_REPORT"


@dataclass(frozen=True)
class Found:
    """The executable, and how it came here; without one, `said` tells what was tried."""

    path: str | None
    said: str


def begin() -> None:
    """Names the run's report; called when the first process of the run starts."""
    if _REPORT not in os.environ:
        os.environ[_REPORT] = os.path.join(tempfile.gettempdir(), f"browser-tests-{os.getpid()}.json")
        end()  # a number comes again


def end() -> None:
    """Removes the report; called by the process that began."""
    report = os.environ.get(_REPORT)
    if report is not None and report.endswith(f"-{os.getpid()}.json"):
        Path(report).unlink(missing_ok=True)


def reported() -> Found | None:
    """What the run has found; None when no browser test asked."""
    report = Path(os.environ[_REPORT])
    text = report.read_text(encoding="utf-8") if report.exists() else ""
    return Found(**json.loads(text)) if text else None


def chromium() -> Found:
    """The Chromium of this run: the first process that asks looks, and installs if it must; the others wait for it."""
    with open(os.environ[_REPORT], "a+", encoding="utf-8") as report:
        fcntl.flock(report, fcntl.LOCK_EX)
        found = reported()
        if found is None:
            found = _look() or _install()
            report.write(json.dumps(asdict(found)))
        return found


def _look() -> Found | None:
    named = os.environ.get("CHROMIUM")
    if named:
        if not os.access(named, os.X_OK):
            return Found(None, f"CHROMIUM={named!r} is no program: expected the path of a Chromium")
        return Found(named, f"{named} (CHROMIUM)")
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return Found(path, path)
    own = _playwrights()
    return Found(own, f"{own} (Playwright's)") if own else None


def _playwrights() -> str | None:
    """Playwright's own browser, if it was installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.path.exists(path) else None


def _install() -> Found:
    tried = []
    for commands in _ways():
        said = "; ".join(commands)
        print(f"browser tests: no Chromium here; {said} ...", file=sys.stderr, flush=True)
        failure = _run(commands)
        found = _look() if failure is None else None
        if found is not None and found.path:
            return Found(found.path, f"{found.path}, installed by: {said}")
        tried.append(f"{said}: {failure or 'brought no Chromium'}")
    return Found(None, "; ".join(tried))


def _ways() -> list[list[str]]:
    """The system's package manager, if we may use it, then Playwright's own download."""
    ways = [[f"{sys.executable} -m playwright install chromium"]]
    manager = next((name for name in INSTALLERS if shutil.which(name)), None)
    if manager is not None and (os.geteuid() == 0 or _sudo()):
        prefix = "" if os.geteuid() == 0 else "sudo -n "
        ways.insert(0, [prefix + command for command in INSTALLERS[manager]])
    return ways


def _sudo() -> bool:
    """Whether sudo asks for no password."""
    return bool(shutil.which("sudo")) and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0


def _run(commands: list[str]) -> str | None:
    """Runs them in turn; the last line of the first that failed."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in commands:
        try:
            done = subprocess.run(
                command.split(), capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environment
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode:
            lines = (done.stderr + done.stdout).strip().splitlines()
            return lines[-1][:200] if lines else f"exit code {done.returncode}"
    return None
