"""The embedded PostgreSQL when somebody is killed, stopped or deleted: real signals, and what comes back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from models.embedded import EmbeddedPostgres, EmbeddedPostgresError
from models.embedded.server import Server
from tests.cluster_users import Join, eventually, is_stopped, postmaster, processes, query


def test_a_newcomer_takes_over_from_a_killed_starter(used_dir: Path, join: Join) -> None:
    starter, newcomer = join(), join()
    starter("start")
    server = postmaster(used_dir)
    starter.kill()
    newcomer("start")
    assert postmaster(used_dir) == server
    newcomer.leave()
    assert is_stopped(used_dir)


def test_nothing_is_left_of_a_starter_killed_during_initdb(data_dir: Path, join: Join) -> None:
    killed, newcomer = join(), join()
    newcomer.ready()
    # By itself, with its initdb: whoever looks from outside may come when that is done, half a second later.
    killed("die-when-there-is postgres.new-*/global")
    killed.send("start")
    assert killed.process.wait(60) == -signal.SIGKILL
    assert not (data_dir / "postgres").exists()
    newcomer("start")
    assert newcomer("SELECT 1") == "1"
    assert sorted(path.name for path in data_dir.iterdir()) == ["postgres"]


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with a busy orphan"])
def test_a_killed_postmaster_is_replaced_by_the_next_start(used_dir: Path, join: Join, busy: bool) -> None:
    user, newcomer = join(), join()
    user("start")
    user("CREATE TABLE kept AS SELECT 42 AS answer")
    killed = postmaster(used_dir)
    if busy:  # does not notice that its postmaster is gone: it never waits for anything
        connection = psycopg.connect(user("start"), autocommit=True)
        connection.pgconn.send_query(b"DO 'BEGIN LOOP END LOOP; END'")
    os.kill(killed, signal.SIGKILL)
    newcomer("start")
    user("start")
    if busy:
        connection.close()
    assert postmaster(used_dir) != killed
    assert (user("SELECT answer FROM kept"), newcomer("SELECT answer FROM kept")) == ("42", "42")
    user.leave()
    newcomer.leave()
    assert is_stopped(used_dir)


def test_a_server_that_does_not_answer_yet_is_waited_for(used_dir: Path, join: Join) -> None:
    user, newcomer = join(), join()
    url = user("start")
    newcomer.ready()
    os.kill(postmaster(used_dir), signal.SIGSTOP)
    newcomer.send("start")
    time.sleep(0.3)
    assert not newcomer.has_answered()
    os.kill(postmaster(used_dir), signal.SIGCONT)
    assert newcomer.receive() == url


def test_a_pid_file_whose_pid_is_another_process_now_is_stale(used_dir: Path) -> None:
    cluster = EmbeddedPostgres(used_dir)
    cluster.start()
    os.kill(postmaster(used_dir), signal.SIGKILL)
    server = Server(used_dir)
    eventually(lambda: not processes(server.socket_dir.name))
    owner = server.cluster.stat()
    stranger = subprocess.Popen(["sleep", "600"], user=owner.st_uid if os.geteuid() == 0 else None)
    try:
        for stale in (server.cluster / "postmaster.pid", server.socket_dir / ".s.PGSQL.5432.lock"):
            # Of the lines only those that it has before the socket is open, as when it is killed early.
            stale.write_text("\n".join([str(stranger.pid), *stale.read_text().splitlines()[1:4], "\n"]))
        assert query(cluster.start(), "SELECT 1") == 1
        cluster.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_cluster_deleted_while_it_runs_is_made_anew(used_dir: Path, join: Join) -> None:
    user = join()
    user("start")
    old = postmaster(used_dir)
    old_socket_dir = Server(used_dir).socket_dir
    shutil.rmtree(used_dir)
    try:
        user("start")
        assert user("SELECT 1") == "1"
        assert postmaster(used_dir) != old
        user.leave()
        assert is_stopped(used_dir)
    finally:  # it notices within a minute, or when it first writes something
        with suppress(ProcessLookupError):
            os.kill(old, signal.SIGQUIT)
        eventually(lambda: not processes(old_socket_dir.name))
        shutil.rmtree(old_socket_dir, ignore_errors=True)


def test_a_server_that_cannot_start_is_reported_with_the_end_of_its_log(used_dir: Path) -> None:
    (used_dir / "postgres/global/pg_control").write_bytes(b"\0" * 8192)
    log = used_dir / "postgres/server.log"
    os.truncate(log, 11 * 1024 * 1024)
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)it ended\. The end of its log .*FATAL.*need to initdb"):
        EmbeddedPostgres(used_dir).start()
    assert log.stat().st_size < 10_000, "expected a log of over 10 MB to be put aside"
    assert log.with_name("server.log.1").exists()
