"""Samples of the backlog: what waited and ran, minute by minute, so that the queue has a past."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE backlog_samples (
    job_type VARCHAR(50) NOT NULL,
    bucket TIMESTAMPTZ NOT NULL,
    resolution SMALLINT NOT NULL,
    samples INTEGER DEFAULT 1 NOT NULL,
    due BIGINT DEFAULT 0 NOT NULL,
    scheduled BIGINT DEFAULT 0 NOT NULL,
    running BIGINT DEFAULT 0 NOT NULL,
    oldest_seconds DOUBLE PRECISION DEFAULT 0 NOT NULL,
    oldest_most DOUBLE PRECISION DEFAULT 0 NOT NULL,
    capped BOOLEAN DEFAULT false NOT NULL,
    PRIMARY KEY (job_type, bucket, resolution)
);
CREATE INDEX ix_backlog_samples_bucket ON backlog_samples (bucket);
COMMENT ON COLUMN backlog_samples.job_type IS 'Empty: the whole queue; each minute that was sampled has that row.';
COMMENT ON COLUMN backlog_samples.resolution IS 'Minutes: 1 or 60.';
COMMENT ON COLUMN backlog_samples.samples IS 'In which it had jobs. Counts and oldest_seconds are sums over them.';
COMMENT ON COLUMN backlog_samples.oldest_seconds IS 'How long the first due job had been due.';
COMMENT ON COLUMN backlog_samples.oldest_most IS 'The most of them.';
COMMENT ON COLUMN backlog_samples.capped IS 'A count stopped at its bound: there were at least so many.';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE backlog_samples")
