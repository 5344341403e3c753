"""A queue with a past: a million jobs of thirty days, 100,000 of them failed in 40 groups, and their roll-up.

Ten seconds of SQL. Everything is spread as a worker would leave it; ids sort by time.
"""

from __future__ import annotations

from typing import LiteralString

JOBS, FAILED, GROUPS, TYPES = 1_000_000, 100_000, 40, 10

#: Of the million, the oldest 700,000 have ended, every seventh of these failed; 100,000 are due, 199,800 scheduled for
#: later, 200 run. Every thousandth of the old ones was cancelled.
LOAD_JOBS: LiteralString = """
INSERT INTO background_jobs (
    id, job_type, status, priority, created_at, scheduled_for, started_at, completed_at, updated_at, worker_id,
    error_message, fingerprint, payload
)
SELECT
    lpad(n::text, 36, '0'), 'type_' || n % 10, status, 1 + n / 10 % 10, added,
    CASE WHEN n > 800200 THEN now() + (n - 800200) * interval '1 s' ELSE added END,
    CASE WHEN status NOT IN ('pending', 'cancelled') THEN added + interval '1 s' END,
    CASE WHEN status NOT IN ('pending', 'processing') THEN added + interval '2 s' END,
    added,
    CASE WHEN status NOT IN ('pending', 'cancelled') THEN 'worker-' || n % 2 END,
    CASE WHEN status = 'failed' THEN 'the mail server did not answer in ' || n % 40 || ' s, customer c-' || n END,
    CASE WHEN status = 'failed' THEN format('type_%s:Error%s:no answer', n % 10, n / 10 % 4) ELSE '' END,
    jsonb_build_object('customer_id', 'c-' || n)
FROM (
    SELECT
        n, now() - (1000000 - n) * interval '2592 ms' AS added,
        CASE
            WHEN n > 700200 THEN 'pending'
            WHEN n > 700000 THEN 'processing'
            WHEN n % 7 = 3 THEN 'failed'
            WHEN n % 1000 = 0 THEN 'cancelled'
            ELSE 'completed'
        END AS status
    FROM generate_series(1, 1000000) AS n
) AS job;

INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, fingerprint, failed_at)
SELECT id, job_type, 1, split_part(fingerprint, ':', 2), error_message, fingerprint, now() - random() * interval '30 h'
FROM background_jobs WHERE status = 'failed';

INSERT INTO retried_jobs (job_id, fingerprint, retried_at, before)
SELECT id, fingerprint, now() - random() * interval '30 h', '{}'
FROM background_jobs WHERE status = 'failed' LIMIT 10000;

INSERT INTO workers (worker_id, host, pid, job_types)
SELECT 'worker-' || n, 'here', n, '{}' FROM generate_series(0, 1) AS n;
INSERT INTO job_types (job_type) SELECT 'type_' || n FROM generate_series(0, 9) AS n;
INSERT INTO audit_log (at, who, action, target, detail)
SELECT now() - interval '90 days', 'a script', 'set_limits', 'type_3', '{"was": {"max_running": 1}, "max_running": 2}'
FROM generate_series(1, 2000) AS n;
INSERT INTO audit_log (who, action, target) SELECT 'ann', 'retry', 'job ' || n FROM generate_series(1, 10000) AS n;
"""

#: At that rate, 23 attempts a minute: 48 hours of minutes, mostly one attempt a row, and 28 days of hours; ten types
#: at three priorities by two workers.
LOAD_ROLL_UP: LiteralString = """
INSERT INTO job_metrics (
    bucket, resolution, job_type, priority, worker_id, completed, failed, run_seconds, wait_seconds, run, wait,
    stage_micros
)
SELECT
    bucket, 1, 'type_' || type, 3 + 2 * priority, 'worker-' || worker, (n % 7 > 0)::int, (n % 7 = 0)::int,
    0.5, 2.5, jsonb_build_object(20 + n % 23, 1), jsonb_build_object(30 + n % 41, 1), '{"fetch": 1000, "work": 90000}'
FROM (
    SELECT *, row_number() OVER () AS n
    FROM generate_series(date_trunc('hour', now(), 'UTC') - interval '48 h', now(), interval '1 minute') AS bucket,
        generate_series(0, 9) AS type, generate_series(0, 2) AS priority, generate_series(0, 1) AS worker
) AS cell
WHERE n % 5 < 2;

INSERT INTO job_metrics (
    bucket, resolution, job_type, priority, worker_id, completed, failed, run_seconds, wait_seconds, run, wait,
    stage_micros
)
SELECT
    bucket, 60, 'type_' || type, 3 + 2 * priority, '', 39, 7, 23, 115,
    jsonb_object_agg(16 + step * 2 + n % 7, 3 + n % 2), jsonb_object_agg(26 + step * 3 + n % 9, 3 + n % 2),
    '{"fetch": 1000, "work": 90000}'
FROM (
    SELECT *, row_number() OVER () AS n
    FROM generate_series(
            date_trunc('hour', now(), 'UTC') - interval '30 days', date_trunc('hour', now(), 'UTC') - interval '49 h',
            interval '1 hour'
        ) AS bucket,
        generate_series(0, 9) AS type, generate_series(0, 2) AS priority
) AS cell, generate_series(1, 12) AS step
GROUP BY bucket, type, priority, n;
"""

#: Every tenth job has an invoice of its own; a hundred of those that wait are in doubt, and ten that no job asks about.
LOAD_PAYMENTS: LiteralString = """
INSERT INTO customers (id, name) VALUES ('million', 'Who pays by bank debit');
INSERT INTO payments (
    invoice_id, customer_id, amount, currency, payment_method, status, job_id, updated_at, paid_at
)
SELECT
    'i-' || n, 'million', 12.5, 'usd', 'pm_card',
    CASE WHEN doubt THEN 'processing' ELSE 'succeeded' END,
    lpad(n::text, 36, '0'), added, CASE WHEN NOT doubt THEN added END
FROM (
    SELECT
        n, n > 990000 AND n % 100 = 0 OR n > 9900 AND n <= 10000 AND n % 10 = 0 AS doubt,
        now() - (1000000 - n) * interval '2592 ms' AS added
    FROM generate_series(10, 1000000, 10) AS n
) AS payment;
"""

#: Thirty days of the backlog of the ten types: 48 hours of minutes and 28 days of hours, and nothing of one day.
LOAD_SAMPLES: LiteralString = """
INSERT INTO backlog_samples (
    job_type, bucket, resolution, samples, due, scheduled, running, oldest_seconds, oldest_most
)
SELECT
    CASE WHEN type < 10 THEN 'type_' || type ELSE '' END, bucket, minutes, minutes, minutes * (type + n % 50),
    minutes * 20, minutes * 2, minutes * (n % 600), n % 600
FROM (
    SELECT bucket, 1 AS minutes, row_number() OVER () AS n
    FROM generate_series(date_trunc('hour', now(), 'UTC') - interval '48 h', now(), interval '1 minute') AS bucket
    UNION ALL
    SELECT bucket, 60, row_number() OVER ()
    FROM generate_series(
        date_trunc('hour', now(), 'UTC') - interval '30 days', date_trunc('hour', now(), 'UTC') - interval '49 h',
        interval '1 hour'
    ) AS bucket
) AS moment, generate_series(0, 10) AS type
WHERE bucket NOT BETWEEN now() - interval '11 days' AND now() - interval '10 days';
"""
