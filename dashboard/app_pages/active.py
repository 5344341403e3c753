"""What runs now, by whom, and how much longer?"""

from dashboard import data, state
from dashboard.components import active, shell

shell.begin("Active", "What runs now, who runs it, and how much longer will it take?")


def now() -> None:
    """The running jobs and the workers."""
    shell.as_of()
    shell.panel(None, active.running, data.active)
    shell.panel("Workers", active.workers, data.workers)


shell.live(now)

if (opened := state.dialog()) and opened.name == active.CANCEL:
    active.cancel_dialog()
