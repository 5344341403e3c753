"""The fields of a CRM import: sources that fall through, lookups, templates, words, dates counted from others."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from crm_folder import DEALS, DEALS_HEADER, Crm

from models.crm_import import TableCounts
from models.crm_import.problems import CrmFileError

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def crm(tmp_path: Path) -> Crm:
    return Crm(tmp_path)


SOURCES = """
max_rejected = 1

[opportunities]
file = "deals.csv"
replace = { product = { SofaX = "Sofa X" } }
[opportunities.columns]
id = "id"
title = [{ template = "{title} ({product})" }, { template = "{title}" }]
estimated_value = ["value", { column = "product", lookup = "prices" }, { value = 7 }]
expected_close = ["close", { column = "begun", add_days = 90 }]

[lookups.prices]
file = "products.csv"
key = "name"
value = "price"
format = { decimal = "," }
"""


def test_the_first_source_that_is_not_empty_wins(crm: Crm) -> None:
    crm.write("products.csv", 'name,price\nSofa X,"99,50"\n')
    crm.write(
        "deals.csv",
        """id,title,product,value,begun,close
d1,A,SofaX,,2017-01-01,
d2,B,Sofa X,0,2017-01-01,2017-01-05
d3,C,,,,
""",
    )
    assert crm.load(SOURCES).opportunities.inserted == 3
    assert crm.rows("SELECT title, estimated_value, expected_close FROM opportunities ORDER BY id") == [
        ("A (Sofa X)", Decimal("99.50"), date(2017, 4, 1)),
        ("B (Sofa X)", Decimal(0), date(2017, 1, 5)),
        ("C", Decimal(7), None),
    ]


@pytest.mark.parametrize(
    ("row", "column", "reason", "value"),
    [
        ("d1,A,Rug,,,", "product", "expected a key of products.csv ('Sofa X'), got 'Rug'", "Rug"),
        ("d1,A,SofaX,many,,", "value", "expected a number, got 'many'", "many"),
    ],
)
def test_a_value_that_cannot_be_used_does_not_fall_through_to_the_next_source(
    crm: Crm, row: str, column: str, reason: str, value: str
) -> None:
    crm.write("products.csv", 'name,price\nSofa X,"99,50"\n')
    crm.write("deals.csv", f"id,title,product,value,begun,close\n{row}\n")
    assert crm.load(SOURCES).opportunities == TableCounts(read=1, rejected=1)
    (rejected,) = crm.rejected()
    assert (rejected["column"], rejected["value"]) == (column, value)
    assert rejected["reason"].startswith(reason)


def test_an_entry_of_a_lookup_that_cannot_be_read_is_named_where_it_stands(crm: Crm) -> None:
    crm.write("products.csv", "name,price\nSofa X,dear\n")
    crm.write("deals.csv", "id,title,product,value,begun,close\nd1,A,SofaX,,,\n")
    crm.load(SOURCES)
    assert "products.csv, line 2, column 'price': expected a number" in crm.rejected()[0]["reason"]


def test_a_lookup_with_a_key_twice_is_refused(crm: Crm) -> None:
    crm.write("products.csv", "name,price\nSofa,1\nSofa,2\n")
    crm.write("deals.csv", DEALS_HEADER)
    lookup = '[lookups.prices]\nfile = "products.csv"\nkey = "name"\nvalue = "price"\n'
    with pytest.raises(CrmFileError, match="products.csv, line 3: name 'Sofa' is also on line 2"):
        crm.load(DEALS + lookup)


def test_an_opportunity_without_a_date_is_made_now_and_keeps_that_date(crm: Crm) -> None:
    toml = DEALS + 'created_at = "close"\n'
    crm.write("deals.csv", DEALS_HEADER + "d1,A,,Open,1,\n")
    crm.load(toml)
    assert crm.load(toml).opportunities.unchanged == 1
    assert crm.rows("SELECT now() - created_at < interval '1 minute' FROM opportunities") == [(True,)]
