"""Payments: one row for each invoice, by which charging twice is noticed.

The row is written before Stripe is asked for anything, and after every answer. Only an intent whose id is recorded here
is ever confirmed, so that after a crash there is one intent to ask Stripe about. Changes name the try (or the intent)
they are about: of two workers, the one that comes late changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ARRAY, CheckConstraint, Column, DateTime, ForeignKey, Index, Integer, Numeric, Text, text
from sqlmodel import Field, SQLModel

from models import database
from models.sql import statement


class PaymentStatus(StrEnum):
    """How a payment stands."""

    #: Nobody has been asked to charge.
    PENDING = "pending"
    #: Stripe was asked to charge, and its answer is not written down.
    UNKNOWN = "unknown"
    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    CANCELED = "canceled"
    #: Written by whoever gives the money back; such an invoice is not charged again.
    REFUNDED = "refunded"


#: The money was taken.
PAID = (PaymentStatus.SUCCEEDED, PaymentStatus.REFUNDED)


def _now(name: str) -> Any:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


class Payment(SQLModel, table=True):
    """What became of one invoice's payment. Kept for good: who paid what is no matter of a retention period."""

    __tablename__ = "payments"

    id: str = Field(default=None, sa_column=Column(Text, primary_key=True, server_default=text("new_job_id()")))
    invoice_id: str = Field(
        sa_column=Column(
            Text, nullable=False, unique=True, comment="One payment each: the guard against charging twice."
        )
    )
    customer_id: str = Field(
        sa_column=Column(Text, ForeignKey("customers.id", ondelete="RESTRICT"), nullable=False, index=True)
    )
    amount: Decimal = Field(
        sa_column=Column(Numeric(12, 3), nullable=False, comment="In the currency's major unit.")
    )
    currency: str = Field(sa_column=Column(Text, nullable=False))
    payment_method: str = Field(sa_column=Column(Text, nullable=False))
    stripe_customer: str | None = Field(default=None, sa_column=Column(Text))
    status: str = Field(
        default="pending",
        sa_column=Column(
            Text,
            nullable=False,
            server_default=text("'pending'"),
            comment="unknown: Stripe was asked to charge, and did not answer yet.",
        ),
    )
    job_id: str | None = Field(
        default=None,
        sa_column=Column(
            Text, comment="Who began the current try, or learned how it ended; jobs go, payments stay."
        ),
    )
    tries: int = Field(
        default=1,
        sa_column=Column(
            Integer,
            nullable=False,
            server_default=text("1"),
            comment="PaymentIntents begun; with job_id, the idempotency key.",
        ),
    )
    confirmations: int = Field(
        default=0,
        sa_column=Column(
            Integer, nullable=False, server_default=text("0"), comment="Times Stripe was asked to charge."
        ),
    )
    payment_intent_id: str | None = Field(
        default=None, sa_column=Column(Text, unique=True, comment="Only what is recorded here is ever confirmed.")
    )
    earlier_intents: list[str] = Field(
        default_factory=list,
        sa_column=Column(
            ARRAY(Text),
            nullable=False,
            server_default=text("'{}'::text[]"),
            comment="Declined or canceled ones of earlier tries.",
        ),
    )
    charge_id: str | None = Field(default=None, sa_column=Column(Text))
    error_code: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime = Field(default=None, sa_column=_now("created_at"))
    updated_at: datetime = Field(default=None, sa_column=_now("updated_at"))
    paid_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))

    __table_args__ = (
        CheckConstraint(
            f"status IN ({', '.join(repr(str(status)) for status in PaymentStatus)})", name="payments_status"
        ),
        CheckConstraint("amount > 0", name="payments_amount_positive"),
        CheckConstraint(
            "(paid_at IS NOT NULL) = (status IN ('succeeded', 'refunded'))", name="payments_paid_at"
        ),
        # What somebody has to look after, and since when.
        Index(
            "ix_payments_in_doubt",
            "updated_at",
            postgresql_where=text("status IN ('unknown', 'processing')"),
        ),
    )


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be charged: how much (major unit, ISO 4217 in lower case) and to which of Stripe's payment methods."""

    invoice_id: str
    customer_id: str
    amount: Decimal
    currency: str
    payment_method: str
    stripe_customer: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentState:
    """A payment as it was read. `untold`: see models/sql/find_payment.sql."""

    id: str
    terms: Terms
    status: PaymentStatus
    job_id: str | None
    tries: int
    payment_intent_id: str | None
    error_code: str | None
    untold: bool

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt to begin the current try, and for no other."""
        return f"{self.job_id or self.id}.{self.tries}"


async def begin_payment(terms: Terms, job_id: str | None) -> PaymentState | None:
    """The invoice's payment, written down now if it was not yet; None: there is no such customer."""
    async with database.async_engine().begin() as connection:
        await connection.exec_driver_sql(statement("begin_payment"), {**asdict(terms), "job_id": job_id})
        rows = await connection.exec_driver_sql(
            statement("find_payment"), {"invoice_id": terms.invoice_id, "job_id": job_id}
        )
        row = rows.mappings().one_or_none()
    if row is None:
        return None
    return PaymentState(
        id=row["id"],
        terms=Terms(**{name: row[name] for name in Terms.__dataclass_fields__}),
        status=PaymentStatus(row["status"]),
        job_id=row["job_id"],
        tries=row["tries"],
        payment_intent_id=row["payment_intent_id"],
        error_code=row["error_code"],
        untold=row["untold"],
    )


async def record_intent(payment: PaymentState, payment_intent_id: str) -> bool:
    """Makes this the intent of the current try; False when the try has one already, or is over."""
    return await _change(
        "UPDATE payments SET payment_intent_id = %(payment_intent_id)s, updated_at = now()"
        " WHERE id = %(id)s AND tries = %(tries)s AND payment_intent_id IS NULL RETURNING id",
        {"id": payment.id, "tries": payment.tries, "payment_intent_id": payment_intent_id},
    )


async def record_doubt(payment: PaymentState, payment_intent_id: str) -> bool:
    """Writes down that Stripe is about to be asked to charge; False when the intent is not the payment's any more."""
    return await _change(
        # As long as it is in doubt, updated_at stays since when.
        "UPDATE payments SET status = 'unknown', confirmations = confirmations + 1, updated_at ="
        " CASE WHEN status IN ('unknown', 'processing') THEN updated_at ELSE now() END"
        " WHERE id = %(id)s AND payment_intent_id = %(payment_intent_id)s"
        " AND status NOT IN ('succeeded', 'refunded') RETURNING id",
        {"id": payment.id, "payment_intent_id": payment_intent_id},
    )


async def settle_payment(
    payment: PaymentState,
    payment_intent_id: str,
    status: PaymentStatus,
    *,
    job_id: str | None,
    charge_id: str | None = None,
    error_code: str | None = None,
) -> float:
    """Writes down what Stripe said of the intent; what is paid stays paid.

    Returns:
        For how many seconds it has been as it is, or in doubt; 0 when the intent is not the payment's any more.
    """
    async with database.async_engine().begin() as connection:
        changed = await connection.exec_driver_sql(
            statement("settle_payment"),
            {
                "id": payment.id,
                "payment_intent_id": payment_intent_id,
                "status": str(status),
                "charge_id": charge_id,
                "error_code": error_code,
                "job_id": job_id,
            },
        )
        return float(changed.scalar_one_or_none() or 0.0)


async def renew_payment(payment: PaymentState, terms: Terms, job_id: str | None) -> bool:
    """Begins another try with these terms; its intent must be out of play by then. False: somebody else was first."""
    return await _change(
        statement("renew_payment"), {**asdict(terms), "id": payment.id, "tries": payment.tries, "job_id": job_id}
    )


async def _change(sql: str, parameters: dict[str, Any]) -> bool:
    async with database.async_engine().begin() as connection:
        changed = await connection.exec_driver_sql(sql, parameters)
        return changed.first() is not None
