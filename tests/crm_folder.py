"""What the tests of the CRM import share: mappings, and a folder of CSV files to load with them."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path
from typing import Any

from models import database
from models.crm_import import ImportResult, TableCounts, import_crm
from models.crm_import.mapping import read_mapping

CUSTOMERS = """
[customers]
file = "customers.csv"
[customers.columns]
id = "id"
name = "name"
email = "email"
"""
DEALS = """
[opportunities]
file = "deals.csv"
[opportunities.columns]
id = "id"
title = "title"
customer = "account"
status = { column = "stage", values = { Open = "new", Won = "won" } }
estimated_value = "value"
expected_close = "close"
"""
DEALS_HEADER = "id,title,account,stage,value,close\n"


class Crm:
    """A folder of CSV files, and the database they are loaded into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report = folder / "rejected.csv"

    def write(self, name: str, content: str | bytes) -> None:
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def load(self, toml: str, **options: Any) -> ImportResult:
        options = {"folder": self.folder, "report": self.report} | options
        return import_crm(read_mapping(tomllib.loads(toml)), **options)

    def deals(self, rows: str, *, extra: str = "", allowed: str = '"100%"', **options: Any) -> TableCounts:
        """Loads deals.csv with these rows under its header; `extra` is TOML that goes first."""
        self.write("deals.csv", DEALS_HEADER + rows)
        return self.load(f"max_rejected = {allowed}\n{extra}\n{DEALS}", **options).opportunities

    def rejected(self) -> list[dict[str, str]]:
        with self.report.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def rows(self, query: Any) -> list[Any]:
        with database.transaction() as connection:
            return connection.execute(query).fetchall()
