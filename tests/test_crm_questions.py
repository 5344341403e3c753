"""Values with more than one reading: the import asks, and what it asks for answers it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from crm_folder import CUSTOMERS, DEALS, DEALS_HEADER, Crm

from models.crm_import.problems import AmbiguousValuesError

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def crm(tmp_path: Path) -> Crm:
    return Crm(tmp_path)


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        (["1.234"], ["# 1.234 is 1.234", 'decimal = "."', "# 1.234 is 1234", 'decimal = ","', 'thousands = "."']),
        (["1,234", "5"], ["# 1,234 is 1234", 'decimal = "."', 'thousands = ","', 'decimal = ","']),
        (["12.50", "1,234"], ["# 1,234 is 1234", 'decimal = "."', 'thousands = ","']),
        (["$5"], ["# $5 is 5", 'currency = ["$"]']),
        (["5 EUR"], ["# 5 EUR is 5", 'currency = ["EUR"]']),
    ],
)
def test_a_number_with_two_readings_is_asked_for(crm: Crm, values: list[str], lines: list[str]) -> None:
    with pytest.raises(AmbiguousValuesError) as caught:
        crm.deals("".join(f'd{number},A,,Open,"{value}",\n' for number, value in enumerate(values)))
    message = str(caught.value)
    assert "deals.csv, column 'value' has values with more than one reading" in message
    assert "[opportunities.format]" in message
    for line in lines:
        assert f"\n    {line}" in message
    assert crm.rows("SELECT id FROM opportunities") == []


def test_the_lines_that_the_question_shows_answer_it(crm: Crm) -> None:
    rows = 'd1,A,,Open,"$1,234",03-04-17\nd2,B,,Open,"$5,678",25-10-16\n'
    with pytest.raises(AmbiguousValuesError) as caught:
        crm.deals(rows)
    shown = re.findall(r"^    ((?:\w+ = |# ).*)$", str(caught.value), re.MULTILINE)
    # Of each question the first answer: its lines up to the next comment.
    first = [line for line in shown if not line.startswith("#")]
    answer = dict(line.split(" = ", 1) for line in reversed(first))
    toml = "[format]\n" + "\n".join(f"{key} = {value}" for key, value in answer.items())
    assert crm.deals(rows, extra=toml).inserted == 2
    assert crm.rows("SELECT estimated_value, expected_close FROM opportunities ORDER BY id") == [
        (Decimal(1234), date(2017, 4, 3)),
        (Decimal(5678), date(2016, 10, 25)),
    ]


def test_a_date_with_two_readings_is_asked_for_with_every_form_that_fits_the_column(crm: Crm) -> None:
    with pytest.raises(AmbiguousValuesError) as caught:
        crm.deals("d1,A,,Open,1,03-04-17\nd2,A,,Open,1,2017-04-03\n")
    message = str(caught.value)
    assert "column 'close' has values with more than one reading: '03-04-17' (line 2)" in message
    for date_format, reading in [("%d-%m-%y", "2017-04-03"), ("%m-%d-%y", "2017-03-04"), ("%y-%m-%d", "2003-04-17")]:
        assert f'# 03-04-17 is {reading}\n    date_format = "{date_format}"' in message
    with pytest.raises(AmbiguousValuesError) as caught:
        crm.deals("d1,A,,Open,1,03-04-17\nd2,A,,Open,1,31-12-99\n")
    assert re.findall(r"%\w-%\w-%\w", str(caught.value)) == ["%d-%m-%y"]


def test_all_open_questions_are_asked_at_once(crm: Crm) -> None:
    crm.write("customers.csv", 'id,name,email,revenue\nc1,Acme,,"1,234"\n')
    crm.write("deals.csv", DEALS_HEADER + "d1,A,Acme,Open,1.234,03/04/2017\n")
    with pytest.raises(AmbiguousValuesError) as caught:
        crm.load(CUSTOMERS + 'tier = { column = "revenue", thresholds = { vip = 2, premium = 1 } }\n' + DEALS)
    for column in ("customers.csv, column 'revenue'", "deals.csv, column 'value'", "deals.csv, column 'close'"):
        assert column in str(caught.value)


def test_what_has_one_reading_is_not_asked_for(crm: Crm) -> None:
    values = ["1234", "12.50", "+5", ".5", "0.125"]
    crm.deals(
        "".join(f"d{n},A,,Open,{value},2017-04-03\n" for n, value in enumerate(values)), extra="format={round=true}"
    )
    assert [value for (value,) in crm.rows("SELECT estimated_value FROM opportunities ORDER BY id")] == [
        Decimal("1234"), Decimal("12.50"), Decimal("5"), Decimal("0.5"), Decimal("0.13"),
    ]  # fmt: skip


def test_numbers_of_two_forms_in_one_column_are_asked_for(crm: Crm) -> None:
    with pytest.raises(AmbiguousValuesError, match="do not share one form"):
        crm.deals('d1,A,,Open,12.50,\nd2,A,,Open,"12,50",\n')


def test_declared_forms_are_read_per_file_and_per_column(crm: Crm) -> None:
    toml = f"""
        format = {{ decimal = ".", date_format = "%d.%m.%Y", empty = ["-"] }}
        {DEALS.replace('"value"', '{ column = "value", decimal = ",", thousands = ".", currency = "€" }')}
        created_at = {{ column = "close", add_days = -1 }}
        [opportunities.format]
        timezone = "Europe/Vienna"
    """
    crm.write("deals.csv", DEALS_HEADER + 'd1,A,,Open,"€ 1.234,5",03.04.2017\nd2,B,,Open,-,-\n')
    crm.load(toml)
    assert crm.rows("SELECT estimated_value, expected_close, created_at FROM opportunities WHERE id = 'd1'") == [
        (Decimal("1234.50"), date(2017, 4, 3), datetime(2017, 4, 1, 22, tzinfo=UTC))
    ]
    assert crm.rows("SELECT estimated_value, expected_close FROM opportunities WHERE id = 'd2'") == [(None, None)]
