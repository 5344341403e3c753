"""The queue: jobs, failures, job types, workers, roll-up, audit log, and the trigger that wakes idle workers."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FUNCTIONS = """
-- UUID version 7 as text, for rows added by plain SQL (the Python side makes its own: models/ids.py).
-- 48 bits of milliseconds, then a random UUID's bits with the version nibble set to 7.
CREATE FUNCTION new_job_id() RETURNS text LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid::text
$$;

-- Two histograms as one: the counts of equal buckets added up (models/histogram.py says what the buckets are).
CREATE FUNCTION histogram_add(one jsonb, other jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_object_agg(bucket, jobs), '{}'::jsonb)
    FROM (
        SELECT key AS bucket, sum(value::bigint) AS jobs
        FROM (SELECT * FROM jsonb_each_text(one) UNION ALL SELECT * FROM jsonb_each_text(other)) AS counts
        GROUP BY key
    ) AS added
$$;

CREATE AGGREGATE histogram_sum(jsonb) (SFUNC = histogram_add, STYPE = jsonb, INITCOND = '{}');
"""

TABLES = """
CREATE TABLE background_jobs (
    id TEXT DEFAULT new_job_id() NOT NULL,
    job_type VARCHAR(50) NOT NULL,
    payload JSONB DEFAULT '{}'::jsonb NOT NULL,
    status VARCHAR(20) DEFAULT 'pending' NOT NULL,
    priority INTEGER DEFAULT 5 NOT NULL,
    retry_count INTEGER DEFAULT 0 NOT NULL,
    max_retries INTEGER DEFAULT 3 NOT NULL,
    scheduled_for TIMESTAMPTZ DEFAULT now() NOT NULL,
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    error_message TEXT,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    worker_id TEXT,
    lost_count SMALLINT DEFAULT 0 NOT NULL,
    unique_key TEXT,
    progress DOUBLE PRECISION,
    progress_note TEXT,
    result JSONB,
    flow_run_id TEXT,
    task_run_id TEXT,
    PRIMARY KEY (id),
    CONSTRAINT background_jobs_status CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    CONSTRAINT background_jobs_id_1_to_255_bytes CHECK (octet_length(id) BETWEEN 1 AND 255),
    CONSTRAINT background_jobs_priority_1_to_10 CHECK (priority BETWEEN 1 AND 10),
    CONSTRAINT background_jobs_retry_count_0_to_1000 CHECK (retry_count BETWEEN 0 AND 1000),
    CONSTRAINT background_jobs_max_retries_0_to_1000 CHECK (max_retries BETWEEN 0 AND 1000),
    CONSTRAINT background_jobs_scheduled_for_in_range
        CHECK (scheduled_for BETWEEN '1970-01-01 00:00:00+00' AND '9999-01-01 00:00:00+00'),
    CONSTRAINT background_jobs_times_in_range CHECK (
        greatest(created_at, updated_at, started_at, completed_at) <= '9999-01-01 00:00:00+00'
        AND least(created_at, updated_at, started_at, completed_at) >= '1970-01-01 00:00:00+00'
    )
);
CREATE INDEX idx_jobs_claim
    ON background_jobs (job_type, priority DESC, scheduled_for)
    WHERE status = 'pending';
CREATE INDEX idx_jobs_created_at ON background_jobs (created_at DESC);
CREATE INDEX idx_jobs_failed ON background_jobs (completed_at DESC) WHERE status = 'failed';
CREATE INDEX idx_jobs_priority
    ON background_jobs (priority DESC, scheduled_for ASC)
    WHERE status = 'pending';
CREATE INDEX idx_jobs_status_scheduled
    ON background_jobs (status, scheduled_for)
    WHERE status IN ('pending', 'processing');
CREATE INDEX idx_jobs_type_status ON background_jobs (job_type, status);
CREATE UNIQUE INDEX idx_jobs_unique_key
    ON background_jobs (unique_key)
    WHERE unique_key IS NOT NULL AND status IN ('pending', 'processing');
COMMENT ON COLUMN background_jobs.worker_id IS 'Who runs it; with started_at, the fence of its completion.';
COMMENT ON COLUMN background_jobs.lost_count IS 'Times its worker died.';
COMMENT ON COLUMN background_jobs.unique_key IS 'At most one pending or processing job has it.';
COMMENT ON COLUMN background_jobs.progress IS 'Reported share done, 0 to 1.';
COMMENT ON COLUMN background_jobs.flow_run_id IS 'Prefect flow run of the last attempt.';
COMMENT ON COLUMN background_jobs.task_run_id IS 'Prefect task run of the last attempt.';

CREATE TABLE job_failures (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    job_id TEXT NOT NULL,
    job_type VARCHAR(50) NOT NULL,
    attempt INTEGER NOT NULL,
    error_class TEXT NOT NULL,
    message TEXT NOT NULL,
    traceback TEXT,
    fingerprint TEXT NOT NULL,
    worker_id TEXT,
    flow_run_id TEXT,
    task_run_id TEXT,
    started_at TIMESTAMPTZ,
    failed_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(job_id) REFERENCES background_jobs (id) ON DELETE CASCADE
);
CREATE INDEX ix_job_failures_failed_at ON job_failures (failed_at DESC);
CREATE INDEX ix_job_failures_fingerprint ON job_failures (fingerprint, failed_at DESC);
CREATE INDEX ix_job_failures_job_id ON job_failures (job_id);
COMMENT ON COLUMN job_failures.fingerprint IS 'Groups the same error: job type, class, message without values.';

CREATE TABLE job_types (
    job_type VARCHAR(50) NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    payload_schema JSONB DEFAULT '{}'::jsonb NOT NULL,
    max_retries INTEGER DEFAULT 3 NOT NULL,
    timeout_seconds DOUBLE PRECISION,
    batch_size INTEGER,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    paused BOOLEAN DEFAULT false NOT NULL,
    max_running INTEGER,
    starts_per_second DOUBLE PRECISION,
    start_tokens DOUBLE PRECISION DEFAULT 0 NOT NULL,
    tokens_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    held_until TIMESTAMPTZ,
    held_reason TEXT,
    PRIMARY KEY (job_type),
    CONSTRAINT job_types_max_running_not_negative CHECK (max_running >= 0),
    CONSTRAINT job_types_starts_per_second_0_to_1000000 CHECK (starts_per_second BETWEEN 0 AND 1000000)
);
COMMENT ON COLUMN job_types.payload_schema IS 'JSON Schema.';
COMMENT ON COLUMN job_types.max_running IS 'Most at once, over all workers; NULL: no limit.';
COMMENT ON COLUMN job_types.starts_per_second IS 'Over all workers; NULL: no limit.';
COMMENT ON COLUMN job_types.start_tokens IS 'Starts saved up.';

CREATE TABLE workers (
    worker_id TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    job_types TEXT[] NOT NULL,
    started_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    beat_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    waiting BOOLEAN DEFAULT false NOT NULL,
    stop_requested BOOLEAN DEFAULT false NOT NULL,
    flow_run_id TEXT,
    stopped_at TIMESTAMPTZ,
    PRIMARY KEY (worker_id)
);
COMMENT ON COLUMN workers.waiting IS 'Idle: notify it.';

CREATE TABLE job_metrics (
    bucket TIMESTAMPTZ NOT NULL,
    resolution SMALLINT NOT NULL,
    job_type VARCHAR(50) NOT NULL,
    priority SMALLINT NOT NULL,
    worker_id TEXT NOT NULL,
    completed INTEGER DEFAULT 0 NOT NULL,
    failed INTEGER DEFAULT 0 NOT NULL,
    retried INTEGER DEFAULT 0 NOT NULL,
    cancelled INTEGER DEFAULT 0 NOT NULL,
    lost INTEGER DEFAULT 0 NOT NULL,
    requeued INTEGER DEFAULT 0 NOT NULL,
    wait_seconds DOUBLE PRECISION DEFAULT 0 NOT NULL,
    run_seconds DOUBLE PRECISION DEFAULT 0 NOT NULL,
    wait JSONB DEFAULT '{}'::jsonb NOT NULL,
    run JSONB DEFAULT '{}'::jsonb NOT NULL,
    PRIMARY KEY (bucket, resolution, job_type, priority, worker_id)
);
COMMENT ON COLUMN job_metrics.resolution IS 'Minutes: 1 or 60.';
COMMENT ON COLUMN job_metrics.worker_id IS 'Empty where no worker did it.';
COMMENT ON COLUMN job_metrics.requeued IS 'Failed jobs put back by people.';

CREATE TABLE audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at TIMESTAMPTZ DEFAULT now() NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail JSONB DEFAULT '{}'::jsonb NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX ix_audit_log_at ON audit_log (at DESC);
CREATE INDEX ix_audit_log_target ON audit_log (target);
"""

STORAGE = """
-- A job is updated twice in its life, so 2 % of a large table is already much to vacuum; the default of 20 % lets the
-- claim's index fill with dead entries. 85: progress reports stay in the page (HOT), the roll-up and heartbeats too.
ALTER TABLE background_jobs SET (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 1
);
ALTER TABLE job_metrics SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);
-- A handful of rows rewritten every five seconds: half-empty pages keep every update in place.
ALTER TABLE workers SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
"""

WAKE_UP = """
-- Always notifying takes 32 single-insert connections from 7,200 to 1,560 commits a second; asking first whether
-- anybody waits leaves 7,000. A worker that dies while it waits stops counting with its heartbeat.
CREATE FUNCTION background_jobs_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM workers WHERE waiting AND beat_at > now() - interval '30 seconds') THEN
        PERFORM pg_notify('background_jobs', '');
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER background_jobs_wake AFTER INSERT ON background_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION background_jobs_wake();
"""


def upgrade() -> None:
    for statements in (FUNCTIONS, TABLES, STORAGE, WAKE_UP):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP TABLE audit_log, job_metrics, workers, job_types, job_failures, background_jobs")
    op.execute("DROP FUNCTION background_jobs_wake, new_job_id")
    op.execute("DROP AGGREGATE histogram_sum(jsonb)")
    op.execute("DROP FUNCTION histogram_add")
