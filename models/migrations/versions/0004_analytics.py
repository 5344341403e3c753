"""Daily figures by customers' tier, job type and opportunities' stage."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Tidy, one figure a row: a new measure is new rows, not a new column, and recomputing a day is an upsert by the key.
TABLE = """
CREATE TABLE analytics_daily (
    day DATE NOT NULL,
    dimension TEXT NOT NULL,
    member TEXT NOT NULL,
    measure TEXT NOT NULL,
    value NUMERIC(20, 3) NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (day, dimension, member, measure),
    CONSTRAINT analytics_daily_dimension CHECK (dimension IN ('tier', 'job_type', 'stage'))
);
COMMENT ON COLUMN analytics_daily.day IS 'In UTC.';
COMMENT ON COLUMN analytics_daily.member IS 'The tier (none: no customer), the job type, the stage.';
COMMENT ON COLUMN analytics_daily.value IS 'A count, an amount or seconds.';
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE analytics_daily")
