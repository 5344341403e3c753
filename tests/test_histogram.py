"""Histograms of seconds: quantiles near the truth, and the same sums in Python and in SQL."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import value

from models.histogram import LAST_BUCKET, SMALLEST_SECONDS, bucket_of, quantile, upper_edge

durations = st.floats(SMALLEST_SECONDS * 1.01, 40 * 86_400.0)
shares = st.floats(0.001, 1)
histograms = st.dictionaries(st.integers(0, LAST_BUCKET), st.integers(1, 10**9), max_size=20)


@given(durations)
def test_a_duration_lies_within_the_edges_of_its_bucket(seconds: float) -> None:
    bucket = bucket_of(seconds)

    assert 1 <= bucket <= LAST_BUCKET
    assert upper_edge(bucket - 1) * (1 - 1e-9) <= seconds <= upper_edge(bucket) * (1 + 1e-9)


@pytest.mark.parametrize("bucket", range(LAST_BUCKET + 1))
def test_a_buckets_upper_edge_belongs_to_it(bucket: int) -> None:
    assert bucket_of(upper_edge(bucket)) == bucket


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-9, SMALLEST_SECONDS])
def test_the_first_bucket_takes_everything_up_to_a_millisecond(seconds: float) -> None:
    assert bucket_of(seconds) == 0


@pytest.mark.parametrize("seconds", [4_000_000.0, 1e12, 1e300])
def test_the_last_bucket_takes_everything_beyond_41_days(seconds: float) -> None:
    assert bucket_of(seconds) == LAST_BUCKET


@given(st.lists(durations, min_size=1, max_size=200), shares)
def test_a_quantile_is_within_9_percent_of_the_true_one(seconds: list[float], share: float) -> None:
    true = sorted(seconds)[math.ceil(share * len(seconds)) - 1]

    read = quantile(Counter(map(bucket_of, seconds)), share)

    assert read is not None
    assert abs(read - true) <= 0.09 * true


@given(histograms.filter(bool), shares, shares)
def test_a_larger_share_never_reads_smaller(histogram: dict[int, int], one: float, other: float) -> None:
    smaller, larger = (quantile(histogram, share) for share in sorted((one, other)))

    assert smaller is not None and larger is not None
    assert smaller <= larger


def test_an_empty_histogram_has_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({"3": 0}, 0.5) is None


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share: expected 0 to 1, got"):
        quantile({1: 1}, share)


def test_the_database_adds_histograms_as_python_does(database: str) -> None:
    @given(st.lists(histograms, max_size=5))
    def adds_alike(added: list[dict[int, int]]) -> None:
        expected: Counter[int] = Counter()
        for histogram in added:
            expected.update(histogram)

        summed = value(
            "SELECT histogram_sum(histogram) FROM unnest(%s::jsonb[]) AS added (histogram)",
            [json.dumps(histogram) for histogram in added],
        )

        assert (summed or {}) == {str(bucket): count for bucket, count in expected.items()}

    adds_alike()


@given(histograms)
def test_reading_from_json_or_from_python_is_the_same(histogram: dict[int, int]) -> None:
    assert quantile(json.loads(json.dumps(histogram)), 0.95) == quantile(histogram, 0.95)
