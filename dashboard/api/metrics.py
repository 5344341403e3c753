"""The queue for Prometheus: read from the database at each scrape, so that every process of the API says the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from fastapi import Request, Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from dashboard.api.routing import router
from models.counters import Counters
from models.histogram import BUCKETS_PER_OCTAVE, upper_edge
from models.scrape import BREAKER_STATES, Scrape, scrape

#: Every fourth bucket's edge, 1 ms to 19 h: exact, as they are edges of the roll-up's own, and 27 series, not 129.
_EDGES = range(0, 27 * BUCKETS_PER_OCTAVE, BUCKETS_PER_OCTAVE)

reads = router("viewer", "metrics")
_counters = Counters()


@reads.get(
    "/metrics",
    operation_id="getMetrics",
    summary="The queue for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Text format, or OpenMetrics where that is accepted.",
            "content": {
                "text/plain": {"schema": {"type": "string"}, "example": 'dirtfree_jobs_pending{job_type="..."} 42.0'},
                "application/openmetrics-text": {"schema": {"type": "string"}},
            },
        }
    },
)
def get_metrics(request: Request) -> Response:
    """Jobs that ended and the time they waited and ran, since the month began (UTC); what waits and runs now; workers;
    paused and held job types; circuit breakers; payments in doubt. Prometheus sends the token by `authorization` in its
    scrape config."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    registry = CollectorRegistry()
    registry.register(_Scraped(scrape(_counters)))
    return Response(encode(registry), media_type=content_type)


class _Scraped(Collector):
    """One scrape as Prometheus' families."""

    def __init__(self, found: Scrape) -> None:
        self._found = found

    def describe(self) -> Iterator[Metric]:
        # Otherwise registering would collect.
        return iter(())

    def collect(self) -> Iterator[Metric]:
        found, since = self._found, self._found.counted_since.timestamp()
        ended = CounterMetricFamily(
            "dirtfree_jobs", "Jobs that ended since the month began (UTC).", labels=["job_type", "status"]
        )
        retried = CounterMetricFamily(
            "dirtfree_job_retries", "Attempts that failed and are tried again.", labels=["job_type"]
        )
        lost = CounterMetricFamily("dirtfree_job_losses", "Jobs put back as their worker died.", labels=["job_type"])
        run = HistogramMetricFamily("dirtfree_job_run_seconds", "Run time of an attempt.", labels=["job_type"])
        wait = HistogramMetricFamily("dirtfree_job_wait_seconds", "From due to started.", labels=["job_type"])
        for job_type, counts in found.counts.items():
            for status in ("completed", "failed", "cancelled"):
                ended.add_metric([job_type, status], counts.events[status], created=since)
            retried.add_metric([job_type], counts.events["retried"], created=since)
            lost.add_metric([job_type], counts.events["lost"], created=since)
            run.add_metric([job_type], _cumulative(counts.run), counts.seconds["run"])
            wait.add_metric([job_type], _cumulative(counts.wait), counts.seconds["wait"])
        yield from (ended, retried, lost, run, wait)
        yield GaugeMetricFamily(
            "dirtfree_queue_length", "Jobs that wait: exact up to 100,000, estimated above.", value=found.queue_length
        )
        yield _gauge("dirtfree_jobs_pending", "Jobs that wait, up to 20,000 of a type.", "job_type", found.pending)
        yield _gauge("dirtfree_jobs_processing", "Jobs that run.", "job_type", found.processing)
        yield GaugeMetricFamily(
            "dirtfree_oldest_pending_seconds", "How long the longest waiting due job has been due; 0: none is.",
            value=found.oldest_pending_seconds,
        )  # fmt: skip
        yield _gauge("dirtfree_workers", "Workers by state; silent: no heartbeat for 30 s.", "state", found.workers)
        yield _gauge("dirtfree_job_type_paused", "1: paused by an operator.", "job_type", found.paused)
        yield _gauge("dirtfree_job_type_held", "1: a service it needs is away.", "job_type", found.held)
        breakers = GaugeMetricFamily(
            "dirtfree_breaker", "1: the service's circuit breaker is in this state.", labels=["service", "state"]
        )
        for service, state in found.breakers.items():
            for each in BREAKER_STATES:
                breakers.add_metric([service, each], state == each)
        yield breakers
        in_doubt = {"yes": found.payments.asked, "no": found.payments.unasked}
        yield _gauge(
            "dirtfree_payments_in_doubt",
            "Payments whose outcome is not known, up to 5,000; asked: whether a job asks Stripe about them.",
            "asked",
            {asked: each.payments for asked, each in in_doubt.items()},
        )
        yield _gauge(
            "dirtfree_payments_in_doubt_oldest_seconds",
            "For how long the oldest of them has been in doubt; 0: none is.",
            "asked",
            {asked: each.oldest_seconds for asked, each in in_doubt.items()},
        )


def _gauge(name: str, description: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, description, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _cumulative(histogram: Counter[int]) -> list[tuple[str, float]]:
    rows: list[tuple[str, float]] = [
        (str(upper_edge(edge)), sum(jobs for bucket, jobs in histogram.items() if bucket <= edge))
        for edge in _EDGES
    ]
    return [*rows, ("+Inf", histogram.total())]
