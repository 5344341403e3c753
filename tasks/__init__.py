"""The job types, one file each, and what it takes to write one.

    from tasks import Payload, PermanentError, processor, report_progress

Importing this package imports no processor; `models.registry.load` does, when a type is first needed.
"""

from tasks.bounded import ItemOutcome, batch_process
from tasks.context import CurrentJob, current_job, report_progress
from tasks.errors import PermanentError
from tasks.processor import Payload, processor

__all__ = [
    "CurrentJob",
    "ItemOutcome",
    "Payload",
    "PermanentError",
    "batch_process",
    "current_job",
    "processor",
    "report_progress",
]
