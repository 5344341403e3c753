"""The table of daily figures."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, Column, Date, DateTime, Numeric, Text, text
from sqlmodel import Field, SQLModel

#: What the figures of each dimension are; `models/sql/update_analytics.sql` computes them.
MEASURES = {
    "tier": ("new_customers", "offers", "offered_value", "won", "won_value"),
    "job_type": ("completed", "failed", "retried", "cancelled", "run_seconds"),
    "stage": ("open", "open_value", "moved", "moved_value"),
}


class DailyFigure(SQLModel, table=True):
    """One figure of one day."""

    __tablename__ = "analytics_daily"

    day: date = Field(sa_column=Column(Date, primary_key=True, comment="In UTC."))
    dimension: str = Field(sa_column=Column(Text, primary_key=True))
    member: str = Field(
        sa_column=Column(Text, primary_key=True, comment="The tier (none: no customer), the job type, the stage.")
    )
    measure: str = Field(sa_column=Column(Text, primary_key=True))
    value: Decimal = Field(
        sa_column=Column(Numeric(20, 3), nullable=False, comment="A count, an amount or seconds.")
    )
    updated_at: datetime = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    )

    __table_args__ = (
        CheckConstraint("dimension IN ('tier', 'job_type', 'stage')", name="analytics_daily_dimension"),
    )
