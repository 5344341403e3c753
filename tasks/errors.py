"""What a processor raises on purpose."""


class PermanentError(Exception):
    """For what no retry can mend: card declined, customer gone, setting missing. The job fails for good at once."""
