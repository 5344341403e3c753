"""Appointments, reviews, notifications and staff's own wording; how and when a customer may be reached."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CUSTOMERS = """
ALTER TABLE customers
    ADD COLUMN phone TEXT,
    ADD COLUMN channel TEXT DEFAULT 'email' NOT NULL,
    ADD COLUMN webhook_url TEXT,
    ADD COLUMN time_zone TEXT,
    ADD COLUMN quiet_from TIME,
    ADD COLUMN quiet_until TIME,
    ADD CONSTRAINT customers_channel CHECK (channel IN ('email', 'sms', 'webhook')),
    ADD CONSTRAINT customers_quiet_hours_both_or_none CHECK ((quiet_from IS NULL) = (quiet_until IS NULL));
COMMENT ON COLUMN customers.phone IS 'For SMS; E.164, such as +14155550123.';
COMMENT ON COLUMN customers.time_zone IS 'IANA name; NULL: the company''s.';
COMMENT ON COLUMN customers.quiet_from IS
    'No reminders from then until quiet_until, local time; NULL: the company''s.';
COMMENT ON COLUMN customers.quiet_until IS 'The same as quiet_from: never.';
"""

# What the reminders and review requests are about.
APPOINTMENTS = """
CREATE TABLE appointments (
    id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    service TEXT NOT NULL,
    starts_at TIMESTAMPTZ NOT NULL,
    status TEXT DEFAULT 'scheduled' NOT NULL,
    completed_at TIMESTAMPTZ,
    reminder_queued_for TIMESTAMPTZ,
    review_queued_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT appointments_id_length CHECK (length(id) <= 200),
    CONSTRAINT appointments_status CHECK (status IN ('scheduled', 'completed', 'cancelled')),
    CONSTRAINT appointments_completed_when CHECK (status <> 'completed' OR completed_at IS NOT NULL),
    FOREIGN KEY(customer_id) REFERENCES customers (id) ON DELETE RESTRICT
);
CREATE INDEX ix_appointments_customer_id ON appointments (customer_id);
-- Each flow's query finds only what it still has to queue, however many appointments there have been.
CREATE INDEX ix_appointments_to_remind ON appointments (starts_at)
    WHERE status = 'scheduled' AND reminder_queued_for IS DISTINCT FROM starts_at;
CREATE INDEX ix_appointments_to_review ON appointments (completed_at)
    WHERE status = 'completed' AND review_queued_at IS NULL;
COMMENT ON COLUMN appointments.service IS 'What is done, as the customer reads it.';
COMMENT ON COLUMN appointments.reminder_queued_for IS 'The starts_at for which a reminder was queued.';
COMMENT ON COLUMN appointments.review_queued_at IS 'When a review request was queued.';

CREATE TABLE reviews (
    appointment_id TEXT NOT NULL,
    rating SMALLINT NOT NULL,
    comment TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (appointment_id),
    CONSTRAINT reviews_rating CHECK (rating BETWEEN 1 AND 5),
    CONSTRAINT reviews_comment_length CHECK (length(comment) <= 4000),
    FOREIGN KEY(appointment_id) REFERENCES appointments (id) ON DELETE CASCADE
);
CREATE INDEX ix_reviews_created_at ON reviews (created_at DESC);
"""

# A message to several places that reached some of them must not reach those again when its job is retried.
NOTIFICATIONS = """
CREATE TABLE notifications (
    job_id TEXT NOT NULL,
    target TEXT NOT NULL,
    place TEXT NOT NULL,
    attempts INTEGER DEFAULT 1 NOT NULL,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    sent_at TIMESTAMPTZ,
    PRIMARY KEY (job_id, target)
);
CREATE INDEX ix_notifications_created_at ON notifications (created_at);
COMMENT ON COLUMN messages.channel IS 'smtp, outbox, sms, webhook.';
COMMENT ON COLUMN notifications.target IS 'A keyed hash of the URL, which is secret.';
COMMENT ON COLUMN notifications.place IS 'The URL without its secrets.';
"""

# Wording is changed by staff, without a deployment; it is data and never run.
TEMPLATES = """
CREATE TABLE message_templates (
    name TEXT NOT NULL,
    subject TEXT DEFAULT '' NOT NULL,
    body TEXT NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (name),
    CONSTRAINT message_templates_name
        CHECK (name IN ('reminder', 'reminder_sms', 'review_request', 'notification', 'promotion')),
    CONSTRAINT message_templates_length CHECK (length(subject) <= 500 AND length(body) <= 10000)
);
COMMENT ON COLUMN message_templates.body IS 'Plain text with {{ name }} and {% if name %}.';
"""


def upgrade() -> None:
    for statements in (CUSTOMERS, APPOINTMENTS, NOTIFICATIONS, TEMPLATES):
        op.execute(statements)


def downgrade() -> None:
    op.execute("COMMENT ON COLUMN messages.channel IS 'smtp, outbox.'")
    op.execute("DROP TABLE message_templates, notifications, reviews, appointments")
    op.execute(
        "ALTER TABLE customers DROP COLUMN phone, DROP COLUMN channel, DROP COLUMN webhook_url,"
        " DROP COLUMN time_zone, DROP COLUMN quiet_from, DROP COLUMN quiet_until"
    )
