"""LISTEN, from a thread and a connection of its own: new jobs wake an idle worker, cancelled ones stop."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any

import psycopg

from models import database
from models.actions import CANCEL_CHANNEL

logger = logging.getLogger(__name__)

#: New jobs are announced here, by the trigger on `background_jobs` and by whatever puts jobs back.
WORK_CHANNEL = "background_jobs"
RECONNECT_SECONDS = 2.0
#: How long `stop` waits for the thread; longer only while it is connecting, and then it may be left behind.
STOP_SECONDS = 0.5


class WakeUp:
    """Calls back when jobs may be due (`on_work`) or a running job was cancelled (`on_cancelled`, with its attempt).

    And when it has begun to listen (`on_listening`), the first time and after each lost connection: nothing was heard
    before.
    """

    def __init__(
        self,
        *,
        on_listening: Callable[[], None],
        on_work: Callable[[], None],
        on_cancelled: Callable[[str], None],
    ) -> None:
        self._on_listening = on_listening
        self._on_work = on_work
        self._on_cancelled = on_cancelled
        self._stopping = threading.Event()
        #: What `stop` writes to, and the thread waits for beside the connection.
        self._stop_writer, self._stop_reader = socket.socketpair()
        self._thread = threading.Thread(target=self._loop, name="wake-up", daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Ends at once."""
        self._stopping.set()
        self._stop_writer.close()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (psycopg.Error, OSError) as error:
                # Until it is back, the poll interval finds the work.
                logger.warning("LISTEN is interrupted, trying again: %s", str(error).strip())
                self._stopping.wait(RECONNECT_SECONDS)
        self._stop_reader.close()

    def _listen(self) -> None:
        with (
            database.connect(listen=True, application_name="dirtfree-jobs wake-up") as connection,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.register(self._stop_reader, selectors.EVENT_READ)
            connection.execute(f"LISTEN {WORK_CHANNEL}")
            connection.execute(f"LISTEN {CANCEL_CHANNEL}")
            self._on_listening()
            while not self._stopping.is_set():
                self._hear(connection)
                selector.select()

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        for notification in connection.notifies(timeout=0):
            if notification.channel == CANCEL_CHANNEL:
                self._on_cancelled(notification.payload)
            else:
                self._on_work()
