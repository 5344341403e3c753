"""Payments: one row for an invoice, written before and after Stripe is asked for the money."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE payments (
    id TEXT DEFAULT new_job_id() NOT NULL,
    invoice_id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    amount NUMERIC(12, 3) NOT NULL,
    currency TEXT NOT NULL,
    payment_method TEXT NOT NULL,
    stripe_customer TEXT,
    status TEXT DEFAULT 'pending' NOT NULL,
    job_id TEXT,
    tries INTEGER DEFAULT 1 NOT NULL,
    confirmations INTEGER DEFAULT 0 NOT NULL,
    payment_intent_id TEXT,
    earlier_intents TEXT[] DEFAULT '{}'::text[] NOT NULL,
    charge_id TEXT,
    error_code TEXT,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    paid_at TIMESTAMPTZ,
    PRIMARY KEY (id),
    CONSTRAINT payments_status CHECK (
        status IN (
            'pending', 'unknown', 'processing', 'requires_action', 'succeeded', 'declined', 'canceled', 'refunded'
        )
    ),
    CONSTRAINT payments_amount_positive CHECK (amount > 0),
    CONSTRAINT payments_paid_at CHECK ((paid_at IS NOT NULL) = (status IN ('succeeded', 'refunded'))),
    UNIQUE (invoice_id),
    UNIQUE (payment_intent_id),
    FOREIGN KEY(customer_id) REFERENCES customers (id) ON DELETE RESTRICT
);
CREATE INDEX ix_payments_customer_id ON payments (customer_id);
-- What somebody has to look after.
CREATE INDEX ix_payments_in_doubt ON payments (updated_at) WHERE status IN ('unknown', 'processing');
COMMENT ON COLUMN payments.invoice_id IS 'One payment each: the guard against charging twice.';
COMMENT ON COLUMN payments.amount IS 'In the currency''s major unit.';
COMMENT ON COLUMN payments.status IS 'unknown: Stripe was asked to charge, and did not answer yet.';
COMMENT ON COLUMN payments.job_id IS 'Who began the current try, or learned how it ended; jobs go, payments stay.';
COMMENT ON COLUMN payments.tries IS 'PaymentIntents begun; with job_id, the idempotency key.';
COMMENT ON COLUMN payments.confirmations IS 'Times Stripe was asked to charge.';
COMMENT ON COLUMN payments.payment_intent_id IS 'Only what is recorded here is ever confirmed.';
COMMENT ON COLUMN payments.earlier_intents IS 'Declined or canceled ones of earlier tries.';
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE payments")
