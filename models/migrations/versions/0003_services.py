"""Services and their circuit breakers; in the roll-up, snoozes and stages; promotions by an opportunity's age."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SERVICES = """
ALTER TABLE job_types ADD COLUMN services TEXT[] DEFAULT '{}'::text[] NOT NULL;
COMMENT ON COLUMN job_types.services IS 'What it cannot run without; an open breaker of one holds the type.';

CREATE TABLE services (
    service TEXT NOT NULL,
    breaker TEXT DEFAULT 'closed' NOT NULL,
    changed_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    open_until TIMESTAMPTZ,
    reason TEXT,
    next_turn TIMESTAMPTZ,
    PRIMARY KEY (service),
    CONSTRAINT services_breaker CHECK (breaker IN ('closed', 'open'))
);
COMMENT ON COLUMN services.reason IS 'Why the breaker opened last.';
COMMENT ON COLUMN services.next_turn IS 'When the next call may begin, where calls per second are limited.';
"""

WAKE_UP = """
-- Who resumes a type, raises a limit or ends a hold, by whatever way, wakes the idle workers: without, a resumed type
-- would wait for their poll interval.
CREATE FUNCTION job_types_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('background_jobs', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER job_types_wake AFTER UPDATE OF paused, max_running, starts_per_second, held_until ON job_types
    FOR EACH STATEMENT EXECUTE FUNCTION job_types_wake();
"""

ROLL_UP = """
ALTER TABLE job_metrics
    ADD COLUMN snoozed INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN stage_micros JSONB DEFAULT '{}'::jsonb NOT NULL;
COMMENT ON COLUMN job_metrics.snoozed IS 'Put off by their processor; not an attempt.';
COMMENT ON COLUMN job_metrics.stage_micros IS 'Microseconds by stage: fetch, work, record.';
"""

PROMOTIONS = """
ALTER TABLE promotions
    ADD COLUMN minimum_age_days INTEGER DEFAULT 0 NOT NULL,
    ADD CONSTRAINT promotions_minimum_age_days_not_negative CHECK (minimum_age_days >= 0);
COMMENT ON COLUMN promotions.minimum_age_days IS 'For opportunities that are at least this old.';
"""


def upgrade() -> None:
    for statements in (SERVICES, WAKE_UP, ROLL_UP, PROMOTIONS):
        op.execute(statements)


def downgrade() -> None:
    op.execute("ALTER TABLE promotions DROP COLUMN minimum_age_days")
    op.execute("ALTER TABLE job_metrics DROP COLUMN snoozed, DROP COLUMN stage_micros")
    op.execute("DROP TRIGGER job_types_wake ON job_types")
    op.execute("DROP FUNCTION job_types_wake")
    op.execute("DROP TABLE services")
    op.execute("ALTER TABLE job_types DROP COLUMN services")
