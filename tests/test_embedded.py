"""The embedded PostgreSQL: where it may be, and who shares it, with real processes."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
from sqlalchemy import create_engine, text

from models.embedded import EmbeddedPostgres, EmbeddedPostgresError
from models.embedded.server import Server
from tests.cluster_users import Join, is_stopped, query


def test_the_path_of_the_data_folder_may_have_spaces_quotes_and_any_letters_and_be_long(cluster_root: Path) -> None:
    data_dir = cluster_root / 'a space, a comma\'s "quotes"' / "Datenverzeichnis ÄÖÜ 数据" / ("x" * 120) / ".data"
    cluster = EmbeddedPostgres(data_dir)
    with pytest.raises(EmbeddedPostgresError, match="call start"):
        print(cluster.url)
    with cluster:
        [socket_dir] = parse_qs(urlsplit(cluster.url).query)["host"]
        assert len(f"{socket_dir}/.s.PGSQL.5432.lock".encode()) < 107
        assert os.stat(socket_dir).st_mode & 0o777 == 0o700
        engine = create_engine(cluster.url.replace("postgresql", "postgresql+psycopg", 1))
        with engine.connect() as connection:
            assert connection.execute(text("SELECT lower('ÄÖ') || current_database()")).scalar() == "äöjobs"
        engine.dispose()
    assert is_stopped(data_dir)
    assert [path.name for path in data_dir.iterdir()] == ["postgres"]


def test_what_the_environment_says_of_postgresql_and_temporary_folders_changes_nothing(
    used_dir: Path, join: Join
) -> None:
    far = used_dir / ("t" * 100)
    far.mkdir()
    hostile = {"PGPORT": "1", "PGDATA": "/nowhere", "PGHOST": "example.com", "PGUSER": "eve", "TMPDIR": str(far)}
    one, other = join(environment=hostile), join()
    assert one("start") == other("start")
    assert one("SELECT current_user") == "postgres"


def test_someone_elses_folder_in_the_place_of_the_socket_is_refused(used_dir: Path) -> None:
    socket_dir = Server(used_dir).socket_dir
    socket_dir.mkdir()
    socket_dir.chmod(0o777)
    with pytest.raises(EmbeddedPostgresError, match=r"mode drwxrwxrwx.*remove it"):
        EmbeddedPostgres(used_dir).start()
    socket_dir.rmdir()


def test_a_folder_that_holds_something_else_is_refused(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    with pytest.raises(EmbeddedPostgresError, match="without a PG_VERSION file"):
        EmbeddedPostgres(data_dir).start()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_roots_is_refused() -> None:
    with pytest.raises(EmbeddedPostgresError, match=r"/usr to belong to .*; it belongs to root .*JOB_QUEUE_DATA_DIR"):
        EmbeddedPostgres(Path("/usr")).start()


def test_data_outlives_a_restart_and_starting_twice_is_joining_once(used_dir: Path) -> None:
    cluster = EmbeddedPostgres(used_dir)
    with ThreadPoolExecutor(8) as threads:
        [url] = set(threads.map(lambda _: cluster.start(), range(16)))
    assert query(url, "SELECT count(*) FROM pg_database WHERE datname = 'jobs'") == 1
    query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    cluster.stop()
    cluster.stop()
    assert is_stopped(used_dir)
    assert query(cluster.start(), "SELECT answer FROM kept") == 42
    cluster.stop()


def test_the_last_of_two_processes_stops_it(used_dir: Path, join: Join) -> None:
    first, second = join(), join()
    assert first("start") == second("start")
    first.leave()
    assert second("SELECT 1") == "1"
    second.leave()
    assert is_stopped(used_dir)


def test_four_first_starts_at_once_make_one_cluster(join: Join) -> None:
    users = [join() for _ in range(4)]
    for user in users:
        user.ready()
    for user in users:
        user.send("start")
    assert len({user.receive() for user in users}) == 1
    assert len({user("SELECT system_identifier FROM pg_control_system()") for user in users}) == 1


def test_who_joins_while_the_last_one_leaves_finds_a_running_server(used_dir: Path, join: Join) -> None:
    users = [join() for _ in range(4)]
    for user in users:
        user.send("cycle 15")
    assert [user.receive() for user in users] == ["15"] * 4
    assert is_stopped(used_dir)


def test_neither_a_forked_nor_a_spawned_child_counts_as_a_user(used_dir: Path, join: Join) -> None:
    user = join()
    user("start")
    children = [int(user("fork")), int(user("spawn"))]
    try:
        user.leave()
        assert all(psutil.pid_exists(child) for child in children)
        assert is_stopped(used_dir)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
