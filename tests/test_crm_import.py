"""The CRM import: what it loads, what a second one changes, and that it is whole or not at all."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from crm_folder import CUSTOMERS, DEALS, DEALS_HEADER, Crm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import database
from models.crm_import import TableCounts, import_crm
from models.crm_import.problems import CrmFileError, CrmImportError

ROOT = Path(__file__).resolve().parents[1]
MAVEN = ROOT.parent / "shared" / "data" / "crm"
MAPPINGS = ROOT / "deployments" / "crm_mappings"

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def crm(tmp_path: Path) -> Crm:
    return Crm(tmp_path)


def test_customers_and_opportunities_are_loaded(crm: Crm) -> None:
    crm.write("customers.csv", "id,name,email\nc1,Acme,info@acme.example\nc2,Zen & Co,\n")
    crm.write("deals.csv", DEALS_HEADER + "d1,Carpets,Acme,Open,1234.50,2017-04-03\nd2,Sofa,,Won,,\n")

    result = crm.load(CUSTOMERS + DEALS)

    assert result.customers == TableCounts(read=2, inserted=2)
    assert result.opportunities == TableCounts(read=2, inserted=2)
    assert crm.rows("SELECT id, name, email, tier FROM customers ORDER BY id") == [
        ("c1", "Acme", "info@acme.example", "standard"),
        ("c2", "Zen & Co", None, "standard"),
    ]
    fields = "id, customer_id, title, status, estimated_value, expected_close"
    assert crm.rows(f"SELECT {fields} FROM opportunities ORDER BY id") == [
        ("d1", "c1", "Carpets", "new", Decimal("1234.50"), date(2017, 4, 3)),
        ("d2", None, "Sofa", "won", None, None),
    ]


def test_a_second_import_of_the_same_files_changes_nothing(crm: Crm) -> None:
    crm.write("customers.csv", "id,name,email\nc1,Acme,info@acme.example\nc2,Zen,\n")
    crm.write("deals.csv", DEALS_HEADER + "d1,Carpets,Acme,Open,12.50,2017-04-03\nd2,Sofa,,Won,,\n")
    crm.load(CUSTOMERS + DEALS)
    everything = "SELECT c::text FROM customers c UNION ALL SELECT o::text FROM opportunities o ORDER BY 1"
    before = crm.rows(everything)

    result = crm.load(CUSTOMERS + DEALS)

    assert result.customers == TableCounts(read=2, unchanged=2)
    assert result.opportunities == TableCounts(read=2, unchanged=2)
    assert crm.rows(everything) == before


def test_only_rows_that_differ_are_updated(crm: Crm) -> None:
    crm.deals("d1,A,,Open,1,\nd2,B,,Open,2,\n")
    counts = crm.deals("d1,A,,Open,1,\nd2,B,,Won,2,\nd3,C,,Open,3,\n")
    assert counts == TableCounts(read=3, inserted=1, updated=1, unchanged=1)
    assert crm.rows("SELECT status, updated_at > created_at FROM opportunities ORDER BY id") == [
        ("new", False),
        ("won", True),
        ("new", False),
    ]


def test_what_is_not_mapped_is_left_as_it_is(crm: Crm) -> None:
    crm.write("customers.csv", "id,name,email\nc1,Acme,\n")
    crm.load(CUSTOMERS)
    with database.transaction() as connection:
        connection.execute("UPDATE customers SET tier = 'vip', unsubscribed_at = now()")
    crm.write("customers.csv", "id,name,email\nc1,Acme Ltd,\n")
    assert crm.load(CUSTOMERS).customers.updated == 1
    assert crm.rows("SELECT name, tier, unsubscribed_at IS NOT NULL FROM customers") == [("Acme Ltd", "vip", True)]


def test_an_import_never_takes_an_unsubscription_back(crm: Crm) -> None:
    toml = CUSTOMERS + 'unsubscribed_at = "left"\n'
    crm.write("customers.csv", "id,name,email,left\nc1,Acme,,2024-05-01T10:00:00+02:00\n")
    crm.load(toml)
    crm.write("customers.csv", "id,name,email,left\nc1,Acme,,\n")
    assert crm.load(toml).customers == TableCounts(read=1, unchanged=1)
    assert crm.rows("SELECT unsubscribed_at FROM customers") == [(datetime(2024, 5, 1, 8, tzinfo=UTC),)]


def test_an_error_in_the_second_file_leaves_nothing_of_the_first(crm: Crm) -> None:
    crm.write("customers.csv", "id,name,email\nc1,Acme,\n")
    crm.write("deals.csv", DEALS_HEADER.encode() + b"d1,A,,Open,1,\nd2,\xff,,Open,1,\n")
    offset = len(DEALS_HEADER + "d1,A,,Open,1,\nd2,")
    with pytest.raises(CrmFileError, match=rf"byte b'\\xff' at offset {offset} \(line 3\) is not utf-8"):
        crm.load(CUSTOMERS + DEALS)
    assert crm.rows("SELECT id FROM customers") == []
    assert not list(crm.folder.glob("*rejected*")) + list(crm.folder.glob(".rejected*"))


def test_an_import_into_a_session_is_kept_or_dropped_with_it(crm: Crm) -> None:
    with database.session() as session:
        assert crm.deals("d1,A,,Open,1,\n", on=session).inserted == 1
        session.rollback()
    assert crm.rows("SELECT id FROM opportunities") == []
    with database.session() as session:
        crm.deals("d1,A,,Open,1,\n", on=session)
        session.commit()
    assert crm.rows("SELECT id FROM opportunities") == [("d1",)]


def test_two_imports_do_not_run_at_the_same_time(crm: Crm) -> None:
    with database.transaction() as first:
        crm.deals("d1,A,,Open,1,\n", on=first)
        with pytest.raises(CrmImportError, match="another import into this database is running"):
            crm.deals("d1,A,,Open,1,\n")


def test_progress_grows_to_the_size_of_all_files(crm: Crm) -> None:
    crm.write("customers.csv", "id,name,email\n" + "".join(f"c{n},Customer {n},\n" for n in range(2500)))
    seen: list[tuple[int, int]] = []
    crm.load(CUSTOMERS, progress=lambda done, total: seen.append((done, total)))
    size = (crm.folder / "customers.csv").stat().st_size
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {size}
    assert seen[-1] == (size, size)
    assert len(seen) >= 3


CELLS = st.one_of(
    st.sampled_from(
        ["d1", "d2", "Open", "Won", "", "1", "-1", "1.234", "1,5", "$3", "2017-04-03", "03-04-17", '"', "\0"]
    ),
    st.text(max_size=8),
)
FILES = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=80).map(lambda rows: DEALS_HEADER.encode() + rows),
    st.lists(st.lists(CELLS, min_size=5, max_size=7).map(",".join), max_size=8).map(
        lambda rows: (DEALS_HEADER + "\n".join(rows)).encode("utf-8", "surrogatepass")
    ),
    st.lists(
        st.tuples(
            st.integers(0, 5), st.sampled_from(["Open", "Won", "?"]), st.sampled_from(["", "1", "1.5", "x", "-2"])
        ),
        max_size=12,
    ).map(lambda rows: (DEALS_HEADER + "".join(f"d{i},A,,{s},{v},\n" for i, s, v in rows)).encode()),
)


@given(content=FILES, encoding=st.sampled_from(["utf-8", "utf-16", "cp1252", "utf-7", "shift_jis", "utf-32-be"]))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=200
)
def test_any_bytes_are_a_clear_error_or_a_result_that_adds_up(crm: Crm, content: bytes, encoding: str) -> None:
    crm.write("deals.csv", content)
    toml = f'max_rejected = "100%"\nformat = {{ encoding = "{encoding}" }}\n{DEALS}'
    with database.transaction() as connection:
        try:
            counts = crm.load(toml, on=connection).opportunities
            again = crm.load(toml, on=connection).opportunities
        except CrmImportError as error:
            assert len(str(error)) > 20
            counts = again = TableCounts()
        else:
            assert counts.inserted + counts.updated + counts.unchanged + counts.rejected == counts.read
            assert len(crm.rejected()) == counts.rejected
            assert again == TableCounts(read=counts.read, unchanged=counts.inserted, rejected=counts.rejected)
        stored = connection.execute("SELECT count(*) FROM opportunities").fetchone()
        assert stored == (counts.inserted,)
        raise psycopg.Rollback


@pytest.mark.skipif(not MAVEN.is_dir(), reason=f"the data set is not in {MAVEN}")
def test_the_maven_data_set_is_loaded_whole_and_twice_the_same(tmp_path: Path) -> None:
    mapping = MAPPINGS / "maven_sales.toml"
    first = import_crm(mapping, folder=MAVEN, report=tmp_path / "rejected.csv")
    assert first.customers == TableCounts(read=85, inserted=85)
    assert first.opportunities == TableCounts(read=8800, inserted=8800)

    second = import_crm(mapping, folder=MAVEN, report=tmp_path / "rejected.csv")
    assert second.customers == TableCounts(read=85, unchanged=85)
    assert second.opportunities == TableCounts(read=8800, unchanged=8800)

    with database.transaction() as connection:
        status = dict(connection.execute("SELECT status, count(*) FROM opportunities GROUP BY 1").fetchall())
        tiers = dict(connection.execute("SELECT tier, count(*) FROM customers GROUP BY 1").fetchall())
        nobody = connection.execute("SELECT count(*) FROM opportunities WHERE customer_id IS NULL").fetchone()
        worthless = connection.execute("SELECT count(*) FROM opportunities WHERE estimated_value IS NULL").fetchone()
        gtx_pro = connection.execute(
            "SELECT DISTINCT estimated_value FROM opportunities WHERE title LIKE 'GTX Pro%' AND status = 'qualified'"
        ).fetchall()
        one = connection.execute(
            """
            SELECT c.name, title, status, estimated_value, expected_close, o.created_at
            FROM opportunities o JOIN customers c ON c.id = customer_id WHERE o.id = 'Z063OYW0'
            """
        ).fetchone()
    assert status == {"new": 500, "qualified": 1589, "won": 4238, "lost": 2473}
    assert tiers == {"vip": 8, "premium": 16, "standard": 61}
    assert nobody == (1425,)
    assert worthless == (0,)
    assert gtx_pro == [(Decimal("4821.00"),)]
    begun = datetime(2016, 10, 25, tzinfo=UTC)
    assert one == ("Isdom", "GTX Pro for Isdom", "won", Decimal("4514.00"), date(2017, 3, 11), begun)
