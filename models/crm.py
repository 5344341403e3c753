"""The CRM's tables that the jobs work on: customers, opportunities, promotions, offers, appointments, messages."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Text,
    Time,
    desc,
    text,
)
from sqlmodel import Field, SQLModel

from models.priority import TIER_POINTS


class OpportunityStatus(StrEnum):
    NEW = "new"
    QUALIFIED = "qualified"
    PROPOSAL = "proposal"
    WON = "won"
    LOST = "lost"


class Channel(StrEnum):
    """How a customer wants to hear of appointments."""

    EMAIL = "email"
    SMS = "sms"
    WEBHOOK = "webhook"


class AppointmentStatus(StrEnum):
    SCHEDULED = "scheduled"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


CUSTOMER_TIERS = tuple(TIER_POINTS)
#: What staff may word anew in `message_templates`.
TEMPLATE_NAMES = ("reminder", "reminder_sms", "review_request", "notification", "promotion")
#: Opportunities that still need work.
OPEN_STATUSES = (OpportunityStatus.NEW, OpportunityStatus.QUALIFIED, OpportunityStatus.PROPOSAL)


def _in(column: str, words: tuple[str, ...] | type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(str(word)) for word in words)})"


def _now(name: str) -> Any:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


def _source_updated_at() -> Any:
    return Column(
        "source_updated_at", DateTime(timezone=True), comment="By the clock of the source it was synced from."
    )


class Customer(SQLModel, table=True):
    """A customer of the service company."""

    __tablename__ = "customers"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False))
    email: str | None = Field(default=None, sa_column=Column(Text))
    tier: str = Field(default="standard", sa_column=Column(Text, nullable=False, server_default=text("'standard'")))
    unsubscribed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    created_at: datetime = Field(default=None, sa_column=_now("created_at"))
    updated_at: datetime = Field(default=None, sa_column=_now("updated_at"))
    phone: str | None = Field(default=None, sa_column=Column(Text, comment="For SMS; E.164, such as +14155550123."))
    channel: str = Field(default="email", sa_column=Column(Text, nullable=False, server_default=text("'email'")))
    webhook_url: str | None = Field(default=None, sa_column=Column(Text))
    time_zone: str | None = Field(default=None, sa_column=Column(Text, comment="IANA name; NULL: the company's."))
    quiet_from: time | None = Field(
        default=None,
        sa_column=Column(Time, comment="No reminders from then until quiet_until, local time; NULL: the company's."),
    )
    quiet_until: time | None = Field(default=None, sa_column=Column(Time, comment="The same as quiet_from: never."))
    source_updated_at: datetime | None = Field(default=None, sa_column=_source_updated_at())

    __table_args__ = (
        CheckConstraint(_in("tier", CUSTOMER_TIERS), name="customers_tier"),
        CheckConstraint(_in("channel", Channel), name="customers_channel"),
        CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name="customers_quiet_hours_both_or_none"),
    )


class Opportunity(SQLModel, table=True):
    """A possible sale to a customer (none where the CRM does not know who asked)."""

    __tablename__ = "opportunities"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    customer_id: str | None = Field(
        default=None, sa_column=Column(Text, ForeignKey("customers.id", ondelete="RESTRICT"), index=True)
    )
    title: str = Field(sa_column=Column(Text, nullable=False))
    status: str = Field(default="new", sa_column=Column(Text, nullable=False, server_default=text("'new'")))
    estimated_value: Decimal | None = Field(default=None, sa_column=Column(Numeric(12, 2)))
    expected_close: date | None = Field(default=None, sa_column=Column(Date))
    created_at: datetime = Field(default=None, sa_column=_now("created_at"))
    updated_at: datetime = Field(default=None, sa_column=_now("updated_at"))
    source_updated_at: datetime | None = Field(default=None, sa_column=_source_updated_at())

    __table_args__ = (
        CheckConstraint(_in("status", OpportunityStatus), name="opportunities_status"),
        CheckConstraint("estimated_value >= 0", name="opportunities_estimated_value_not_negative"),
        # The hourly flow reads the open ones, most valuable first.
        Index(
            "ix_opportunities_open",
            text("estimated_value DESC NULLS LAST"),
            postgresql_where=text(_in("status", OPEN_STATUSES)),
        ),
    )


class Promotion(SQLModel, table=True):
    """A promotion that can be sent to customers."""

    __tablename__ = "promotions"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    body: str = Field(sa_column=Column(Text, nullable=False, comment="The paragraph that makes the case; plain text."))
    discount_percent: Decimal = Field(sa_column=Column(Numeric(5, 2), nullable=False, server_default=text("0")))
    tier: str | None = Field(default=None, sa_column=Column(Text, comment="For this tier only; NULL: for all."))
    minimum_value: Decimal = Field(sa_column=Column(Numeric(12, 2), nullable=False, server_default=text("0")))
    active: bool = Field(default=True, nullable=False, sa_column_kwargs={"server_default": text("true")})
    created_at: datetime = Field(default=None, sa_column=_now("created_at"))
    minimum_age_days: int = Field(
        default=0,
        sa_column=Column(
            Integer,
            nullable=False,
            server_default=text("0"),
            comment="For opportunities that are at least this old.",
        ),
    )

    __table_args__ = (
        CheckConstraint("minimum_age_days >= 0", name="promotions_minimum_age_days_not_negative"),
        CheckConstraint("discount_percent BETWEEN 0 AND 100", name="promotions_discount_percent"),
        CheckConstraint(_in("tier", CUSTOMER_TIERS), name="promotions_tier"),
    )


class Offer(SQLModel, table=True):
    """What was offered for an opportunity: one offer for each."""

    __tablename__ = "offers"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    opportunity_id: str = Field(
        sa_column=Column(Text, ForeignKey("opportunities.id", ondelete="CASCADE"), nullable=False, unique=True)
    )
    promotion_id: str = Field(
        sa_column=Column(Text, ForeignKey("promotions.id", ondelete="RESTRICT"), nullable=False, index=True)
    )
    amount: Decimal = Field(sa_column=Column(Numeric(12, 2), nullable=False, comment="After the discount."))
    discount_percent: Decimal = Field(sa_column=Column(Numeric(5, 2), nullable=False))
    created_at: datetime = Field(default=None, sa_column=_now("created_at"))


class Message(SQLModel, table=True):
    """A message to a customer; its key makes sending idempotent."""

    __tablename__ = "messages"

    id: str = Field(sa_column=Column(Text, primary_key=True, comment="The Message-ID's local part."))
    customer_id: str = Field(
        sa_column=Column(Text, ForeignKey("customers.id", ondelete="CASCADE"), nullable=False)
    )
    kind: str = Field(sa_column=Column(Text, nullable=False, comment="The job type that sent it."))
    subject_id: str = Field(sa_column=Column(Text, nullable=False, comment="What it is about: the promotion's id, ..."))
    channel: str = Field(sa_column=Column(Text, nullable=False, comment="smtp, outbox, sms, webhook."))
    created_at: datetime = Field(default=None, sa_column=_now("created_at"))
    sent_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))

    __table_args__ = (
        Index("ix_messages_once", "customer_id", "kind", "subject_id", unique=True),
        Index("ix_messages_sent_at", desc("sent_at")),
    )


class Appointment(SQLModel, table=True):
    """A visit at a customer's."""

    __tablename__ = "appointments"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    customer_id: str = Field(
        sa_column=Column(Text, ForeignKey("customers.id", ondelete="RESTRICT"), nullable=False, index=True)
    )
    service: str = Field(sa_column=Column(Text, nullable=False, comment="What is done, as the customer reads it."))
    starts_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    status: str = Field(
        default="scheduled", sa_column=Column(Text, nullable=False, server_default=text("'scheduled'"))
    )
    completed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    reminder_queued_for: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), comment="The starts_at for which a reminder was queued."),
    )
    review_queued_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), comment="When a review request was queued.")
    )
    created_at: datetime = Field(default=None, sa_column=_now("created_at"))
    updated_at: datetime = Field(default=None, sa_column=_now("updated_at"))

    __table_args__ = (
        # It is part of unique keys (500 characters) and of links.
        CheckConstraint("length(id) <= 200", name="appointments_id_length"),
        CheckConstraint(_in("status", AppointmentStatus), name="appointments_status"),
        CheckConstraint("status <> 'completed' OR completed_at IS NOT NULL", name="appointments_completed_when"),
        # The hourly flow reads what starts soon and has no reminder yet; what is done drops out of the index.
        Index(
            "ix_appointments_to_remind",
            "starts_at",
            postgresql_where=text("status = 'scheduled' AND reminder_queued_for IS DISTINCT FROM starts_at"),
        ),
        # The daily flow reads what was completed lately and was not asked about.
        Index(
            "ix_appointments_to_review",
            "completed_at",
            postgresql_where=text("status = 'completed' AND review_queued_at IS NULL"),
        ),
    )


class Review(SQLModel, table=True):
    """What a customer thought of an appointment: one review for each."""

    __tablename__ = "reviews"

    appointment_id: str = Field(
        sa_column=Column(Text, ForeignKey("appointments.id", ondelete="CASCADE"), primary_key=True)
    )
    rating: int = Field(sa_column=Column(SmallInteger, nullable=False))
    comment: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=text("''")))
    created_at: datetime = Field(default=None, sa_column=_now("created_at"))

    __table_args__ = (
        CheckConstraint("rating BETWEEN 1 AND 5", name="reviews_rating"),
        CheckConstraint("length(comment) <= 4000", name="reviews_comment_length"),
        Index("ix_reviews_created_at", desc("created_at")),
    )


class Notification(SQLModel, table=True):
    """One job's message to one place of NOTIFY_URLS: a retry leaves out those that got it."""

    __tablename__ = "notifications"

    job_id: str = Field(sa_column=Column(Text, primary_key=True))
    target: str = Field(sa_column=Column(Text, primary_key=True, comment="A keyed hash of the URL, which is secret."))
    place: str = Field(sa_column=Column(Text, nullable=False, comment="The URL without its secrets."))
    attempts: int = Field(default=1, sa_column=Column(Integer, nullable=False, server_default=text("1")))
    created_at: datetime = Field(default=None, sa_column=_now("created_at"))
    sent_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))

    __table_args__ = (Index("ix_notifications_created_at", "created_at"),)


class MessageTemplate(SQLModel, table=True):
    """Staff's own wording of a message; without a row the built-in one is used."""

    __tablename__ = "message_templates"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    subject: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=text("''")))
    body: str = Field(sa_column=Column(Text, nullable=False, comment="Plain text with {{ name }} and {% if name %}."))
    updated_at: datetime = Field(default=None, sa_column=_now("updated_at"))

    __table_args__ = (
        CheckConstraint(_in("name", TEMPLATE_NAMES), name="message_templates_name"),
        CheckConstraint("length(subject) <= 500 AND length(body) <= 10000", name="message_templates_length"),
    )
