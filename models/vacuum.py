"""When so much of a table was deleted that its room should be given back soon, and doing it."""

from __future__ import annotations

from collections.abc import Mapping

from models import database

#: Autovacuum sees to less (it starts at 2 % of the jobs), a while later and gently. When a fifth goes at once, the
#: plans of the next hour are made for a table that no longer is.
MUCH = 0.2
#: In a small table it does not matter.
FEWEST_ROWS = 1_000


def row_estimates() -> dict[str, int]:
    """About how many rows each table has, by PostgreSQL's statistics; no table is read."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT class.relname, greatest(class.reltuples, stat.n_live_tup, 0)::bigint"
            " FROM pg_class AS class JOIN pg_stat_user_tables AS stat ON stat.relid = class.oid"
            " WHERE class.relnamespace = 'public'::regnamespace"
        ).fetchall()
    return {row[0]: row[1] for row in rows}


def hints(deleted: Mapping[str, int], before: Mapping[str, int]) -> dict[str, str]:
    """The tables that lost much (more than a fifth of their rows), each with the command that gives the room back.

    Args:
        deleted: rows that went, by table.
        before: rows there were, about (`row_estimates`).
    """
    return {
        table: f"VACUUM (ANALYZE) {table}"
        for table, rows in deleted.items()
        if rows >= FEWEST_ROWS and rows > MUCH * max(before.get(table, 0), rows)
    }


def run(commands: Mapping[str, str]) -> list[str]:
    """Runs what `hints` proposed, each outside of any transaction; returns the tables."""
    with database.connect(application_name="dirtfree-jobs vacuum") as connection:
        for command in commands.values():
            connection.execute(command.encode())
    return list(commands)
