"""What is stored, and every statement against it: the jobs, the CRM, the roll-up, the settings.

    from models import job_queue, calculate_priority
"""

from models.door import InvalidJobError
from models.priority import calculate_priority
from models.queue import JobQueue, job_queue
from models.stats import QueueStats

__all__ = ["InvalidJobError", "JobQueue", "QueueStats", "calculate_priority", "job_queue"]
