"""Bulk actions, what they put back, and the error group of a failed job."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

#: On the job itself, so that a group's jobs are those of one index whoever changes their status, by plain SQL too. The
#: index is partial: adding, claiming and completing a job never touch it. Its time changes only when a job ends, so
#: that progress reports stay in the page.
ERROR_GROUPS = """
ALTER TABLE background_jobs ADD COLUMN fingerprint TEXT DEFAULT ''::text NOT NULL;
COMMENT ON COLUMN background_jobs.fingerprint IS 'Error group of its last failure for good; empty: never recorded.';

UPDATE background_jobs AS job
SET fingerprint = failure.fingerprint
FROM (
    SELECT DISTINCT ON (job_id) job_id, fingerprint FROM job_failures WHERE error_class <> 'LeaseLost'
    ORDER BY job_id, id DESC
) AS failure
WHERE job.status = 'failed' AND failure.job_id = job.id;

CREATE INDEX idx_jobs_failed_group
    ON background_jobs (fingerprint, COALESCE(completed_at, created_at) DESC)
    WHERE status = 'failed';
"""

BULK_ACTIONS = """
CREATE TABLE bulk_actions (
    id TEXT NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    filter JSONB NOT NULL,
    rate_per_second DOUBLE PRECISION,
    total INTEGER,
    done INTEGER DEFAULT 0 NOT NULL,
    skipped INTEGER DEFAULT 0 NOT NULL,
    undone INTEGER DEFAULT 0 NOT NULL,
    state TEXT DEFAULT 'running'::text NOT NULL,
    runner TEXT,
    progress JSONB DEFAULT '{}'::jsonb NOT NULL,
    started_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT bulk_actions_state CHECK (state IN ('running', 'done', 'stopped', 'undoing', 'undone'))
);
CREATE INDEX ix_bulk_actions_started_at ON bulk_actions (started_at DESC);
COMMENT ON COLUMN bulk_actions.total IS 'Jobs that matched when it began; NULL: too many to count.';
COMMENT ON COLUMN bulk_actions.runner IS 'The process that goes on with it; no other one may.';
COMMENT ON COLUMN bulk_actions.progress IS 'How far it has got through the failed jobs.';

CREATE TABLE retried_jobs (
    job_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    retried_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    bulk_action_id TEXT,
    before JSONB NOT NULL,
    PRIMARY KEY (job_id)
);
CREATE INDEX ix_retried_jobs_bulk_action ON retried_jobs (bulk_action_id, job_id);
CREATE INDEX ix_retried_jobs_fingerprint ON retried_jobs (fingerprint, retried_at DESC);
COMMENT ON COLUMN retried_jobs.before IS 'What the job was, for the undo.';
"""


def upgrade() -> None:
    for statements in (ERROR_GROUPS, BULK_ACTIONS):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP TABLE retried_jobs, bulk_actions")
    op.execute("DROP INDEX idx_jobs_failed_group")
    op.execute("ALTER TABLE background_jobs DROP COLUMN fingerprint")
