"""The throw-away cluster: shared with children, and gone with its maker, however that ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from models.embedded.server import Server
from tests.cluster_users import THROW_AWAY, Join, Refused, eventually, postmaster, processes


def test_a_throw_away_cluster_is_shared_with_children_and_gone_at_exit(cluster_root: Path, join: Join) -> None:
    maker = join(THROW_AWAY, environment={"TMPDIR": str(cluster_root)})
    folder = Path(maker("folder"))
    child = join(THROW_AWAY, environment={"JOB_QUEUE_EPHEMERAL_DIR": str(folder)})
    assert child("start") == maker("start")
    assert child("SELECT current_setting('fsync')") == "off"
    socket_dir, watchdog = Server(folder).socket_dir, int(maker("watchdog"))
    os.kill(postmaster(folder), signal.SIGKILL)
    assert child("start") == maker("start")
    maker.leave()
    assert not folder.exists()
    assert not socket_dir.exists()
    assert not processes(socket_dir.name)
    assert not psutil.pid_exists(watchdog)
    with pytest.raises(Refused, match="ended with the process that made it"):
        child("start")


def test_a_throw_away_cluster_is_gone_soon_after_its_maker_was_killed(cluster_root: Path, join: Join) -> None:
    maker = join(THROW_AWAY, environment={"TMPDIR": str(cluster_root)})
    maker("start")
    folder = Path(maker("folder"))
    socket_dir = Server(folder).socket_dir
    maker.kill()
    eventually(lambda: not folder.exists() and not processes(socket_dir.name))
    assert not socket_dir.exists()
    eventually(lambda: not processes(str(folder)))  # the watchdog


def test_a_throw_away_cluster_whose_watchdog_died_too_is_deleted_by_the_next(cluster_root: Path, join: Join) -> None:
    maker = join(THROW_AWAY, environment={"TMPDIR": str(cluster_root)})
    maker("start")
    folder = Path(maker("folder"))
    socket_dir = Server(folder).socket_dir
    os.kill(int(maker("watchdog")), signal.SIGKILL)
    maker.kill()
    assert folder.exists()
    assert processes(socket_dir.name)
    join(THROW_AWAY, environment={"TMPDIR": str(cluster_root)}).ready()
    assert not folder.exists()
    assert not processes(socket_dir.name)
    assert not socket_dir.exists()
