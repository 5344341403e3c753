"""The deployments and their runs, from Prefect."""

from dashboard import answers, data, state
from dashboard.components import schedules, shell

shell.begin("Schedules", "What runs when, how did it go last, and what comes next?")


def now() -> None:
    """The deployments, and what people did to them."""
    shell.as_of()
    found = answers.read(data.deployments)
    if found.problem:
        schedules.unreachable()
    shell.panel(None, schedules.deployments, data.deployments)
    if found.value is not None and len(found.value):
        shell.panel("What people did to them", schedules.done, data.audit_of_each, tuple(found.value["name"]))


shell.live(now, least=state.PREFECT_SECONDS)

if opened := state.dialog():
    if opened.name == schedules.RUN:
        schedules.run_dialog()
    elif opened.name == schedules.PAUSE:
        schedules.pause_dialog()
