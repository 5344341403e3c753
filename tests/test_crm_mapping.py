"""The mapping of a CRM import: what it takes, and how it names what it does not take."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path

import pytest

from models.crm_import import mapping as crm_mapping
from models.crm_import.mapping import load_mapping, read_mapping
from models.crm_import.problems import CrmMappingError

MAPPINGS = Path(__file__).resolve().parents[1] / "deployments" / "crm_mappings"
OPPORTUNITIES = '[opportunities]\nfile = "f"\n[opportunities.columns]\nid = "i"\ntitle = "t"\n'


@pytest.mark.parametrize("path", sorted(MAPPINGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_mapping_that_is_shipped_can_be_used(path: Path) -> None:
    load_mapping(path)


def test_the_example_in_the_documentation_can_be_used() -> None:
    paragraphs = (crm_mapping.__doc__ or "").split("\n")
    example = textwrap.dedent("\n".join(line for line in paragraphs if line.startswith("    ") or not line))
    mapping = read_mapping(tomllib.loads(example))
    assert set(mapping.tables()) == {"customers", "opportunities", "lookups.prices"}


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("", "expected a table [customers] or [opportunities], got neither"),
        ("colour = 1\n" + OPPORTUNITIES, "unknown key 'colour'; known here are 'format', 'customers'"),
        (OPPORTUNITIES + 'naem = "x"', "opportunities.columns: unknown key 'naem'; known here are 'id', 'title'"),
        (
            OPPORTUNITIES + 'status = { column = "s", values = { A = "open" } }',
            "opportunities.columns.status.values.A: expected one of new, qualified, proposal, won, lost, got 'open'",
        ),
        (
            OPPORTUNITIES + 'estimated_value = ["v", { column = "w", colum = 1 }]',
            "opportunities.columns.estimated_value[1]: unknown key 'colum'",
        ),
        (
            OPPORTUNITIES + "customer = []",
            "opportunities.columns.customer: expected a column's name, a table or a list",
        ),
        (OPPORTUNITIES + "customer = 3", "opportunities.columns.customer: expected a table, got 3"),
        (OPPORTUNITIES + 'customer = { column = "c", value = "d" }', "expected exactly one of column, template, value"),
        (
            OPPORTUNITIES + 'customer = { value = "d", lookup = "l" }',
            "lookup: expected beside a column, not beside a value",
        ),
        (OPPORTUNITIES + 'customer = "c"\ncustomer_id = "d"', "expected customer (a name) or customer_id, got both"),
        (OPPORTUNITIES + 'customer = { template = "{c" }', "customer.template: expected columns in braces"),
        (OPPORTUNITIES + 'customer = { template = "c" }', "expected at least one column in braces, got 'c'"),
        (OPPORTUNITIES + 'customer = { template = "{c:>9}" }', "expected {column} or {column:slug}"),
        (OPPORTUNITIES + 'customer = { column = "c", lookup = "x" }', "expected the name of a lookup (there is no"),
        (
            OPPORTUNITIES + "estimated_value = { value = -1 }",
            "estimated_value.value: expected greater than or equal to 0",
        ),
        (OPPORTUNITIES + 'expected_close = { column = "c", add_days = "9x" }', "expected_close.add_days: expected"),
        (OPPORTUNITIES.replace('title = "t"', ""), "opportunities.columns.title: expected a value, got nothing"),
        ('[opportunities]\nfile = "f"', "opportunities.columns: expected a value, got nothing"),
        (
            OPPORTUNITIES.replace('"f"', '"f"\nunknown_customer = "create"'),
            'unknown_customer = "create" needs the column `customer`',
        ),
        ('format = { encoding = "utf-9" }\n' + OPPORTUNITIES, "format.encoding: expected an encoding such as utf-8"),
        ('format = { encoding = "rot13" }\n' + OPPORTUNITIES, "format.encoding: expected an encoding such as utf-8"),
        ('format = { delimiter = ";;" }\n' + OPPORTUNITIES, "format.delimiter: expected one character"),
        ('format = { date_format = "%d-%m" }\n' + OPPORTUNITIES, "format.date_format: expected a strptime format"),
        ('format = { date_format = "dd-mm-yy" }\n' + OPPORTUNITIES, "format.date_format: expected a strptime format"),
        ('format = { timezone = "Mars" }\n' + OPPORTUNITIES, "format.timezone: expected a time zone such as UTC"),
        (
            'format = { decimal = "." , thousands = "." }\n' + OPPORTUNITIES,
            "[opportunities]: decimal and thousands are both",
        ),
        ('format = { thousands = "." }\n' + OPPORTUNITIES, 'thousands = "." needs decimal = "." or ","'),
        ('format = { currency = "5" }\n' + OPPORTUNITIES, 'format.currency: expected a sign such as "$"'),
        ("max_rejected = -1\n" + OPPORTUNITIES, "max_rejected: expected a number of rows, zero or more, or a share"),
        ('max_rejected = "101%"\n' + OPPORTUNITIES, "max_rejected: expected a number of rows"),
        ("max_rejected = true\n" + OPPORTUNITIES, "max_rejected: expected a number of rows"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_with_what_was_expected(toml: str, message: str) -> None:
    with pytest.raises(CrmMappingError) as caught:
        read_mapping(tomllib.loads(toml))
    assert message in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text('max_rejected = "x"\nformat = { delimiter = "" }\n')
    with pytest.raises(CrmMappingError) as caught:
        load_mapping(path)
    assert str(caught.value).startswith(f"{path} cannot be used:\n")
    assert "format.delimiter" in str(caught.value)
    assert "max_rejected" in str(caught.value)


@pytest.mark.parametrize("content", [None, b"a = ", b"\xff", b"a = " + b"[" * 5000])
def test_a_file_that_is_no_toml_is_a_mapping_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mapping.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CrmMappingError, match="mapping.toml: expected"):
        load_mapping(path)
