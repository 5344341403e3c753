"""Readers of a column's numbers and dates: in the form the mapping declares, else only what has one reading."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from models.crm_import.forms import NumberForm, plausible, read_date, read_iso, reads_date
from models.crm_import.problems import UnansweredQuestion, shortened
from models.crm_import.questions import DATE_FORMATS, NUMBER_FORMS, Question, currency_signs


class NumberReader:
    """Reads numbers; without a declared form digits only, or what is the same number in every usual form."""

    def __init__(self, form: NumberForm | None, question: Question, currency: tuple[str, ...] = ()) -> None:
        self._form = form.beside(currency) if form else None
        self._question = question
        self._currency = currency

    def __call__(self, text: str, line: int) -> Decimal:
        """The number of this text on this line.

        Raises:
            ValueError: when it is not a number in the declared form.
            UnansweredQuestion: when no form is declared and it has more than one reading.
        """
        if self._form is None:
            return Decimal(text) if text.isascii() and text.isdigit() else self._only_reading(text, line)
        number = self._form.read(text)
        if number is None:
            raise ValueError(f"expected a number ({self._form.described()}), got {shortened(text)}")
        return number

    def _only_reading(self, text: str, line: int) -> Decimal:
        signs = [sign for sign in currency_signs(text) if sign not in self._currency]
        forms = [form.beside((*self._currency, *signs)) for form in NUMBER_FORMS]
        readings = {number for form in forms if (number := form.read(text)) is not None}
        if not readings:
            raise ValueError(
                f'expected a number, got {shortened(text)} (a sign beside it is declared as currency = ["..."])'
            )
        self._question.currency |= dict.fromkeys((*self._currency, *signs))
        self._question.narrow(text)
        if signs or len(readings) > 1 or not self._question.forms:
            self._question.ask(text, line)
            raise UnansweredQuestion
        return readings.pop()


class DateReader:
    """Reads dates; without a declared form ISO 8601 only, as every other form has a twin."""

    def __init__(self, date_format: str | None, question: Question) -> None:
        self._format = date_format
        self._question = question

    def __call__(self, text: str, line: int) -> datetime:
        """The moment of this text on this line, midnight where it has no time.

        Raises:
            ValueError: when it is not a date in the declared form, or there is no such day.
            UnansweredQuestion: when no form is declared and it is a date in another form than ISO 8601.
        """
        try:
            moment = read_date(text, self._format) if self._format else read_iso(text)
        except ValueError as error:
            raise ValueError(
                f"expected a date ({self._format or 'ISO 8601'}), got {shortened(text)}: {error}"
            ) from None
        if moment is None:
            if not any(reads_date(text, date_format) for date_format in DATE_FORMATS):
                raise ValueError(f"expected a date such as 2017-04-03, got {shortened(text)}")
            self._question.narrow(text)
            self._question.ask(text, line)
            raise UnansweredQuestion
        return plausible(moment)
