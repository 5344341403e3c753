"""Log-bucketed histograms of seconds that can be added together: four buckets an octave, from 1 ms up.

Bucket 0 holds up to 1 ms; bucket i > 0 holds (1 ms * 2^((i-1)/4), 1 ms * 2^(i/4)], so a quantile read from the middle
of a bucket is within 9 % of the true one. The last bucket, 128, holds all beyond 41 days. In the database a histogram
is a JSON object from bucket number to count, and `histogram_add` and `histogram_sum` are there in SQL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

SMALLEST_SECONDS = 0.001
BUCKETS_PER_OCTAVE = 4
LAST_BUCKET = 128


def bucket_of(seconds: float) -> int:
    """The number of the bucket that holds this duration (seconds; negative counts as zero)."""
    if seconds <= SMALLEST_SECONDS:
        return 0
    # The tiny subtraction keeps a bucket's own upper edge inside it, whatever log2 rounds to.
    octaves = math.log2(seconds / SMALLEST_SECONDS)
    return min(LAST_BUCKET, math.ceil(octaves * BUCKETS_PER_OCTAVE - 1e-9))


def upper_edge(bucket: int) -> float:
    """The largest duration that a bucket holds, in seconds."""
    return float(SMALLEST_SECONDS * 2 ** (bucket / BUCKETS_PER_OCTAVE))


def quantile(histogram: Mapping[str, int] | Mapping[int, int], share: float) -> float | None:
    """The duration in seconds that `share` (0..1) of the counted ones do not exceed; None for an empty histogram.

    It is the middle of the bucket that holds it. (Spread evenly over the bucket, as histograms are often read, it would
    be up to 19 % off: equal durations are what queues have.)
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, got {share}")
    counts = sorted((int(bucket), count) for bucket, count in histogram.items() if count > 0)
    rank = share * sum(count for _, count in counts)
    for bucket, count in counts:
        if rank <= count:
            return _middle(bucket)
        rank -= count
    return None


def _middle(bucket: int) -> float:
    if bucket == 0:
        return SMALLEST_SECONDS / 2
    # The harmonic mean: as far from the one edge as from the other, relative to each.
    lower, upper = upper_edge(bucket - 1), upper_edge(bucket)
    return 2 * lower * upper / (lower + upper)
