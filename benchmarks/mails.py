"""1,000 promotion e-mails through a real SMTP server that takes 50 ms for each, at the default settings."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from benchmarks.surroundings import configure, empty
from deployments.output import duration, print_table
from deployments.ports import free_port
from flows.process_jobs import process_jobs
from models import database, job_queue
from models.settings import settings
from models.smtp_url import DEFAULT_CONNECTIONS

MAILS = 1_000
SERVER_SECONDS = 0.05
#: Three times the mails, so that what grows shows.
ROUNDS = 3


def measure() -> None:
    """Prints the time beside the ideal (mails x server time / connections), and how the worker's memory grew."""
    # What earlier sections set is not the default.
    configure(concurrency=3, batch_size=50)
    ideal = MAILS * SERVER_SECONDS / DEFAULT_CONNECTIONS
    rows = []
    with mail_server() as url:
        _send_to(url)
        _customers()
        for number in range(ROUNDS):
            empty()
            with database.transaction() as connection:
                connection.execute("TRUNCATE messages")
            job_queue.add_batch(
                {"type": "send_promotion", "payload": {"customer_id": f"bench-{n}", "promotion_id": "bench"}}
                for n in range(MAILS)
            )
            summary = process_jobs(drain=True)
            assert summary.completed == MAILS, summary
            memory = psutil.Process().memory_info().rss / 2**20
            ratio = f"{summary.seconds / ideal:.2f}"
            rows.append((number + 1, duration(summary.seconds), duration(ideal), ratio, f"{memory:.0f} MiB"))
        _send_to(None)
    print_table(
        f"{MAILS:,} promotion e-mails, {SERVER_SECONDS * 1000:.0f} ms each, {DEFAULT_CONNECTIONS} connections",
        ("round", "took", "ideal", "took / ideal", "memory of the worker"),
        rows,
    )


def _send_to(url: str | None) -> None:
    os.environ["SMTP_URL"] = url or ""
    settings.cache_clear()


def _customers() -> None:
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO customers (id, name, email)"
            " SELECT 'bench-' || n, 'Customer ' || n, 'c' || n || '@example.com' FROM generate_series(0, %s) AS n"
            " ON CONFLICT DO NOTHING",
            [MAILS - 1],
        )
        connection.execute(
            "INSERT INTO promotions (id, name, subject, body)"
            " VALUES ('bench', 'Bench', 'Clean carpets', 'We clean your carpets.') ON CONFLICT DO NOTHING"
        )


class _Slow:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:
        await asyncio.sleep(self._seconds)
        return "250 OK"


@contextmanager
def mail_server(seconds: float = SERVER_SECONDS) -> Iterator[str]:
    """A server that takes so long for a mail, in a process of its own, so that it takes nothing of the worker's."""
    port = free_port(4230)
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.mails", str(port), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield f"smtp://127.0.0.1:{port}?starttls=never"
    finally:
        # It ends with its standard input, whatever becomes of us.
        assert child.stdin is not None
        child.stdin.close()
        child.wait(10)


def _serve(port: int, seconds: float) -> None:
    controller = Controller(_Slow(seconds), hostname="127.0.0.1", port=port)
    controller.start()
    print("ready", flush=True)
    sys.stdin.read()
    controller.stop()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]))
