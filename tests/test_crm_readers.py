"""Readers of numbers and dates: what they read is what was meant, or they ask."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.crm_import.forms import EARLIEST, LATEST, NumberForm
from models.crm_import.problems import UnansweredQuestion
from models.crm_import.questions import DATE_FORMATS, NUMBER_FORMS, Questions
from models.crm_import.readers import DateReader, NumberReader

NUMBERS = st.decimals(0, 10_000_000, places=3) | st.integers(0, 10_000_000).map(Decimal)


def _number_reader(form: NumberForm | None = None) -> NumberReader:
    return NumberReader(form, Questions().about_numbers("f.csv", "c", "customers"), form.currency if form else ())


def _date_reader(date_format: str | None = None) -> DateReader:
    return DateReader(date_format, Questions().about_dates("f.csv", "c", "customers"))


def _written(number: Decimal, form: NumberForm) -> str:
    # By way of a character that no form uses.
    return f"{number:,}".replace(",", "\1").replace(".", form.decimal).replace("\1", form.thousands or "")


@given(NUMBERS, st.sampled_from(NUMBER_FORMS))
def test_a_number_is_read_in_the_form_it_was_written_in(number: Decimal, form: NumberForm) -> None:
    assert _number_reader(form)(_written(number, form), 1) == number
    signed = form.beside(("€", "EUR"))
    assert _number_reader(signed)(f"-€\u00a0{_written(number, form)}", 1) == -number
    assert _number_reader(signed)(f"{_written(number, form)} EUR", 1) == number


@given(NUMBERS, st.sampled_from(NUMBER_FORMS))
def test_without_a_declared_form_a_number_is_never_another_one(number: Decimal, form: NumberForm) -> None:
    with suppress(UnansweredQuestion):
        assert _number_reader()(_written(number, form), 1) == number


@given(st.dates(EARLIEST, LATEST), st.sampled_from(DATE_FORMATS))
def test_without_a_declared_form_a_date_is_never_another_one(day: date, date_format: str) -> None:
    with suppress(UnansweredQuestion):
        assert _date_reader()(day.strftime(date_format), 1) == datetime.combine(day, time())


@given(st.dates(date(1969, 1, 1), date(2068, 12, 31)), st.sampled_from(DATE_FORMATS))
def test_a_date_is_read_in_the_form_it_was_written_in(day: date, date_format: str) -> None:
    assert _date_reader(date_format)(day.strftime(date_format), 1).date() == day


@given(st.text())
def test_any_text_is_a_number_a_question_or_a_clear_refusal(text: str) -> None:
    try:
        assert _number_reader()(text, 1).is_finite()
    except ValueError as error:
        assert str(error).startswith("expected a number")
    except UnansweredQuestion:
        pass


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("1,23", NumberForm(".", ",")),
        ("12,34,567", NumberForm(".", ",")),
        ("1,2345", NumberForm(".", ",")),
        ("1,234", NumberForm(".")),
        ("0,123", NumberForm(".", ",")),
        ("1.2.3", NumberForm(".")),
        ("", NumberForm(".")),
        (".", NumberForm(".")),
        ("$1$", NumberForm(".", None, ("$",))),
        ("$1", NumberForm(".")),
    ],
)
def test_a_number_in_another_form_than_the_declared_one_is_refused(text: str, form: NumberForm) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        _number_reader(form)(text, 1)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2017-04-03", "2017-04-03T00:00"),
        ("2017-04-03 09:30", "2017-04-03T09:30"),
        ("2017-04-03T09:30:15.25Z", "2017-04-03T09:30:15.250+00:00"),
        ("2017-04-03T09:30:15+02:00", "2017-04-03T09:30:15+02:00"),
    ],
)
def test_iso_dates_need_no_declaration(text: str, moment: str) -> None:
    assert _date_reader()(text, 1) == datetime.fromisoformat(moment)


def test_two_digits_of_a_year_are_1969_to_2068() -> None:
    read = _date_reader("%d-%m-%y")
    assert [read(f"01-02-{year}", 1).year for year in (69, 99, 17, 68)] == [1969, 1999, 2017, 2068]


@pytest.mark.parametrize("text", ["20170403", "2017-4-3", "3.4.2017", "3 Apr 2017", "04/03/2017 10:00"])
def test_other_dates_are_asked_for(text: str) -> None:
    with pytest.raises(UnansweredQuestion):
        _date_reader()(text, 1)
