"""Directory of the customers an import may refer to: those of its own file, then those in the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from models.crm_import.names import customer_id, name_key
from models.crm_import.problems import quoted


class CustomerDirectory:
    """Finds customers by name or id.

    Attributes:
        created: customers that were made of a name only, id to name, and are not stored yet.
    """

    def __init__(self, connection: psycopg.Connection[Any], *, create_unknown: bool) -> None:
        self.created: dict[str, str] = {}
        self._connection = connection
        self._create_unknown = create_unknown
        self._in_file: dict[str, list[str]] = {}
        self._ids: set[str] = set()
        self._stored: dict[str, list[str]] | None = None

    def add(self, customer: str, name: str) -> None:
        """Notes a customer of the import's own file."""
        self._ids.add(customer)
        self._in_file.setdefault(name_key(name), []).append(customer)

    def by_id(self, customer: str) -> str:
        """The id, which is a customer's.

        Raises:
            ValueError: when it is not.
        """
        if customer not in self._ids:
            self._read_stored()
            if customer not in self._ids:
                raise ValueError("expected the id of a customer of the file or the database, got an unknown one")
        return customer

    def by_name(self, name: str) -> str:
        """The id of the customer of this name, made where the mapping says so.

        Raises:
            ValueError: when there is none, or several have it.
        """
        key = name_key(name)
        found = self._in_file.get(key) or self._read_stored().get(key, [])
        if len(found) > 1:
            raise ValueError(
                f"{len(found)} customers have this name ({quoted(found, 5)}): refer to them by customer_id"
            )
        if found:
            return found[0]
        if not self._create_unknown:
            raise ValueError('no customer has this name (unknown_customer = "create" would make one)')
        made = customer_id(name)
        self.created[made] = name
        self._in_file[key] = [made]
        return made

    def store_created(self) -> int:
        """Stores the customers that were made of a name; returns how many were not there yet."""
        if not self.created:
            return 0
        ids, names = list(self.created), list(self.created.values())
        self.created.clear()
        return self._connection.execute(
            """
            INSERT INTO customers (id, name)
            SELECT * FROM unnest(%s::text[], %s::text[])
            ON CONFLICT (id) DO NOTHING
            """,
            [ids, names],
        ).rowcount

    def _read_stored(self) -> dict[str, list[str]]:
        """The database's customers, read when the file's own do not suffice."""
        if self._stored is None:
            self._stored = {}
            cursor = self._connection.cursor(row_factory=tuple_row)
            rows: Iterable[tuple[str, str]] = cursor.execute("SELECT id, name FROM customers")
            for customer, name in rows:
                self._ids.add(customer)
                self._stored.setdefault(name_key(name), []).append(customer)
        return self._stored
