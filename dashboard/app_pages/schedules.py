"""The deployments and their runs, from Prefect."""

from dashboard import answers, data, state
from dashboard.components import schedules, shell

shell.begin("Schedules", "What runs when, how did it go last, and what comes next?")


def now() -> None:
    """The deployments."""
    shell.as_of()
    if answers.read(data.deployments).problem:
        schedules.unreachable()
    shell.panel(None, schedules.deployments, data.deployments)


shell.live(now, least=state.PREFECT_SECONDS)

if opened := state.dialog():
    if opened.name == schedules.RUN:
        schedules.run_dialog()
    elif opened.name == schedules.PAUSE:
        schedules.pause_dialog()
