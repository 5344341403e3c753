"""The CRM's tables that the jobs work on: customers, opportunities, promotions, offers, messages."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE customers (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    email TEXT,
    tier TEXT DEFAULT 'standard' NOT NULL,
    unsubscribed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT customers_tier CHECK (tier IN ('vip', 'premium', 'standard'))
);

CREATE TABLE opportunities (
    id TEXT NOT NULL,
    customer_id TEXT,
    title TEXT NOT NULL,
    status TEXT DEFAULT 'new' NOT NULL,
    estimated_value NUMERIC(12, 2),
    expected_close DATE,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT opportunities_status CHECK (status IN ('new', 'qualified', 'proposal', 'won', 'lost')),
    CONSTRAINT opportunities_estimated_value_not_negative CHECK (estimated_value >= 0),
    FOREIGN KEY(customer_id) REFERENCES customers (id) ON DELETE RESTRICT
);
CREATE INDEX ix_opportunities_customer_id ON opportunities (customer_id);
CREATE INDEX ix_opportunities_open
    ON opportunities (estimated_value DESC NULLS LAST)
    WHERE status IN ('new', 'qualified', 'proposal');

CREATE TABLE promotions (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    discount_percent NUMERIC(5, 2) DEFAULT 0 NOT NULL,
    tier TEXT,
    minimum_value NUMERIC(12, 2) DEFAULT 0 NOT NULL,
    active BOOLEAN DEFAULT true NOT NULL,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT promotions_discount_percent CHECK (discount_percent BETWEEN 0 AND 100),
    CONSTRAINT promotions_tier CHECK (tier IN ('vip', 'premium', 'standard'))
);
COMMENT ON COLUMN promotions.body IS 'The paragraph that makes the case; plain text.';
COMMENT ON COLUMN promotions.tier IS 'For this tier only; NULL: for all.';

CREATE TABLE offers (
    id TEXT NOT NULL,
    opportunity_id TEXT NOT NULL,
    promotion_id TEXT NOT NULL,
    amount NUMERIC(12, 2) NOT NULL,
    discount_percent NUMERIC(5, 2) NOT NULL,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (opportunity_id),
    FOREIGN KEY(opportunity_id) REFERENCES opportunities (id) ON DELETE CASCADE,
    FOREIGN KEY(promotion_id) REFERENCES promotions (id) ON DELETE RESTRICT
);
CREATE INDEX ix_offers_promotion_id ON offers (promotion_id);
COMMENT ON COLUMN offers.amount IS 'After the discount.';

CREATE TABLE messages (
    id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    sent_at TIMESTAMPTZ,
    PRIMARY KEY (id),
    FOREIGN KEY(customer_id) REFERENCES customers (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX ix_messages_once ON messages (customer_id, kind, subject_id);
CREATE INDEX ix_messages_sent_at ON messages (sent_at DESC);
COMMENT ON COLUMN messages.id IS 'The Message-ID''s local part.';
COMMENT ON COLUMN messages.kind IS 'The job type that sent it.';
COMMENT ON COLUMN messages.subject_id IS 'What it is about: the promotion''s id, ...';
COMMENT ON COLUMN messages.channel IS 'smtp, outbox.';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE messages, offers, promotions, opportunities, customers")
