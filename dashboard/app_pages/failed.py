"""What failed, and can I retry it?"""

from dashboard import data, state
from dashboard.components import filters, groups, retries, shell

shell.begin("Failed", "What failed for good, and can it be retried?")
shell.live(lambda: shell.panel(None, retries.progress, data.bulk_actions, 5))

chosen = filters.failed()
fingerprint = groups.opened()


def now() -> None:
    """The errors, or the one that is open."""
    shell.as_of()
    if fingerprint is None:
        shell.panel(None, lambda frame: groups.groups(frame, chosen), data.groups, chosen, groups.MOST_GROUPS)
    else:
        groups.group(fingerprint, chosen)


shell.live(now)

if (opened := state.dialog()) and opened.name == retries.BULK:
    retries.bulk_dialog()
