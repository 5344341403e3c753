"""Customer sync: where it stands with each source, what it left out, and how old the source's word on a row is."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE customers ADD COLUMN source_updated_at TIMESTAMPTZ;
COMMENT ON COLUMN customers.source_updated_at IS 'By the clock of the source it was synced from.';
ALTER TABLE opportunities ADD COLUMN source_updated_at TIMESTAMPTZ;
COMMENT ON COLUMN opportunities.source_updated_at IS 'By the clock of the source it was synced from.';

CREATE TABLE crm_sync_state (
    source TEXT NOT NULL,
    resource TEXT NOT NULL,
    job_id TEXT,
    running BOOLEAN DEFAULT false NOT NULL,
    since TIMESTAMPTZ,
    cursor TEXT,
    pages INTEGER DEFAULT 0 NOT NULL,
    newest TIMESTAMPTZ,
    synced_until TIMESTAMPTZ,
    etag TEXT,
    counts JSONB DEFAULT '{}'::jsonb NOT NULL,
    began_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    ended_at TIMESTAMPTZ,
    PRIMARY KEY (source, resource)
);
COMMENT ON COLUMN crm_sync_state.job_id IS 'Who began the pass, or took it up last.';
COMMENT ON COLUMN crm_sync_state.running IS 'Whether a pass is under way: the next page is that of the cursor.';
COMMENT ON COLUMN crm_sync_state.since IS 'What the pass asks for: changes since then; NULL: everything.';
COMMENT ON COLUMN crm_sync_state.newest IS 'Of the pass: the newest updated_at.';
COMMENT ON COLUMN crm_sync_state.synced_until IS 'The newest updated_at of the passes that have ended.';
COMMENT ON COLUMN crm_sync_state.etag IS 'Of an answer of one page to the question that the next pass will ask again.';
COMMENT ON COLUMN crm_sync_state.counts IS 'Of the pass: read, inserted, updated, unchanged, rejected.';

CREATE TABLE crm_sync_rejects (
    source TEXT NOT NULL,
    resource TEXT NOT NULL,
    item TEXT NOT NULL,
    field TEXT NOT NULL,
    reason TEXT NOT NULL,
    value TEXT NOT NULL,
    first_seen TIMESTAMPTZ DEFAULT now() NOT NULL,
    last_seen TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (source, resource, item)
);
CREATE INDEX ix_crm_sync_rejects_last_seen ON crm_sync_rejects (last_seen);
COMMENT ON TABLE crm_sync_rejects IS 'Items that cannot be stored as they are; a row goes when its item is stored.';
COMMENT ON COLUMN crm_sync_rejects.item IS 'Its id, or its place where it has none.';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE crm_sync_rejects, crm_sync_state")
    op.execute("ALTER TABLE opportunities DROP COLUMN source_updated_at")
    op.execute("ALTER TABLE customers DROP COLUMN source_updated_at")
