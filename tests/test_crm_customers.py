"""The customers of a CRM import: their ids, tiers and addresses, and how opportunities find them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from crm_folder import CUSTOMERS, DEALS, DEALS_HEADER, Crm
from hypothesis import given
from hypothesis import strategies as st

from models import database
from models.crm_import import TableCounts
from models.crm_import.names import customer_id, name_key, slug

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def crm(tmp_path: Path) -> Crm:
    return Crm(tmp_path)


def test_a_customer_without_id_gets_one_made_of_its_name_whatever_its_case_and_spaces(crm: Crm) -> None:
    toml = '[customers]\nfile = "customers.csv"\ncolumns = { name = "name" }\n'
    crm.write("customers.csv", "name\nAcme  Corp\n")
    crm.load(toml)
    crm.write("customers.csv", "name\n ACME Corp \n")
    assert crm.load(toml).customers == TableCounts(read=1, updated=1)
    assert crm.rows("SELECT id, name FROM customers") == [(customer_id("acme corp"), "ACME Corp")]


def test_names_with_the_same_slug_are_different_customers(crm: Crm) -> None:
    crm.write("customers.csv", "name\nA & B\nA-B\n東京\n大阪\n")
    result = crm.load('[customers]\nfile = "customers.csv"\ncolumns = { name = "name" }\n')
    assert result.customers == TableCounts(read=4, inserted=4)


@given(st.text(), st.text())
def test_names_share_an_id_when_and_only_when_they_share_a_key(one: str, other: str) -> None:
    assert (customer_id(one) == customer_id(other)) == (name_key(one) == name_key(other))
    assert customer_id(one) == customer_id(f"  {one} \t")


@given(st.text())
def test_a_slug_is_a_label_of_a_domain_name(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", slug(text))


@pytest.mark.parametrize(
    ("revenue", "tier"), [("5000", "vip"), ("4999.99", "premium"), ("1000", "premium"), ("0", "standard")]
)
def test_a_tier_is_derived_from_a_number(crm: Crm, revenue: str, tier: str) -> None:
    crm.write("customers.csv", f"id,name,email,revenue\nc1,Acme,,{revenue}\n")
    crm.load(CUSTOMERS + 'tier = { column = "revenue", thresholds = { vip = 5000, premium = 1000 } }\n')
    assert crm.rows("SELECT tier FROM customers") == [(tier,)]


def test_addresses_can_be_made_of_the_name(crm: Crm) -> None:
    toml = '[customers]\nfile = "customers.csv"\n[customers.columns]\nname = "name"\n'
    crm.write("customers.csv", "name\nGekko & Söhne\n")
    crm.load(toml + 'email = { template = "info@{name:slug}.example" }\n')
    assert crm.rows("SELECT email FROM customers") == [("info@gekko-sohne.example",)]


@pytest.mark.parametrize(
    "address", ["nobody", "a@b", "Bob <bob@firm.example>", "a@b.example, c@d.example", "a @b.example"]
)
def test_what_is_no_address_is_rejected(crm: Crm, address: str) -> None:
    crm.write("customers.csv", f'id,name,email\nc1,Acme,"{address}"\nc2,Zen,info@zen.example\n')
    assert crm.load(CUSTOMERS).customers == TableCounts(read=2, inserted=1, rejected=1)
    assert crm.rejected()[0]["column"] == "email"


def test_an_unknown_customer_rejects_the_opportunity(crm: Crm) -> None:
    assert crm.deals("d1,A,Nobody,Open,1,\n").rejected == 1
    row = crm.rejected()[0]
    assert (row["file"], row["line"], row["column"], row["value"]) == ("deals.csv", "2", "account", "Nobody")
    assert "no customer has this name" in row["reason"]


def test_an_unknown_customer_is_made_where_the_mapping_says_so(crm: Crm) -> None:
    crm.write("deals.csv", DEALS_HEADER + "d1,A,Nobody,Open,1,\nd2,B,nobody ,Open,1,\nd3,C,Someone,Open,-1,\n")
    toml = "max_rejected = 1\n" + DEALS.replace("[opportunities]", '[opportunities]\nunknown_customer = "create"')
    result = crm.load(toml)
    assert (result.opportunities.inserted, result.customers_created) == (2, 1)
    # The rejected row left no customer behind.
    assert crm.rows("SELECT name, tier FROM customers") == [("Nobody", "standard")]
    assert crm.load(toml).opportunities == TableCounts(read=3, unchanged=2, rejected=1)


def test_opportunities_find_customers_of_the_database(crm: Crm) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO customers (id, name) VALUES ('x', 'Acme Corp'), ('y', 'Twin'), ('z', 'TWIN')")
    assert crm.deals("d1,A,acme corp,Open,1,\nd2,B,Twin,Open,1,\n") == TableCounts(read=2, inserted=1, rejected=1)
    assert crm.rows("SELECT customer_id FROM opportunities") == [("x",)]
    assert "2 customers have this name ('y', 'z')" in crm.rejected()[0]["reason"]


def test_opportunities_find_customers_by_id(crm: Crm) -> None:
    crm.write("customers.csv", "id,name,email\nc1,Acme,\n")
    crm.write("deals.csv", DEALS_HEADER + "d1,A,c1,Open,1,\nd2,B,c2,Open,1,\n")
    result = crm.load(CUSTOMERS + DEALS.replace("customer =", "customer_id ="))
    assert result.opportunities == TableCounts(read=2, inserted=1, rejected=1)
    assert crm.rejected()[0]["value"] == "c2"
