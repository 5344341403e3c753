"""The job types, one file each, and what it takes to write one.

    from tasks import Payload, PermanentError, processor, report_progress

Importing this package imports no processor; `models.registry.load` does, when a type is first needed.
"""

from tasks.bounded import ItemOutcome, batch_process
from tasks.cache import Cache
from tasks.context import CurrentJob, current_job, report_progress, stage
from tasks.errors import PermanentError, ServiceDownError, Snooze
from tasks.processor import Payload, processor

__all__ = [
    "Cache",
    "CurrentJob",
    "ItemOutcome",
    "Payload",
    "PermanentError",
    "ServiceDownError",
    "Snooze",
    "batch_process",
    "current_job",
    "processor",
    "report_progress",
    "stage",
]
