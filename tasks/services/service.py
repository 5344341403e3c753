"""One outside service: its circuit breaker and its rate, shared by all batches of a worker.

    smtp = Service("smtp", per_second=lambda: settings().mail_per_second)

    async with smtp.call():      # in an `async def`
        ...                      # raises ServiceDownError when the service does not answer

After five failures in a row the breaker opens: the job types that name the service are held for 5 s, twice as long each
time a trial fails, a minute at most. Nothing of them is claimed meanwhile; jobs that were claimed already are put off
without spending an attempt. Then one job tries while the others wait for what becomes of it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from weakref import WeakSet

from pybreaker import STATE_CLOSED, STATE_OPEN, CircuitBreaker, CircuitBreakerError

from models import services
from tasks.errors import ServiceDownError, Snooze

logger = logging.getLogger(__name__)

#: One failure may be a hiccup, five in a row are an outage.
FAILURES_THAT_OPEN = 5
FIRST_HOLD_SECONDS = 5.0
#: How often a job looks whether the one that tries is done.
TRIAL_TURN_SECONDS = 0.05
#: A job waits this long for its turn; later turns are for later, and the slot for others.
TURN_PATIENCE_SECONDS = 10.0


class ServiceHeld(Snooze):
    """The service is known to be down: put off until it is tried again."""


class Service:
    """What processors call a service through.

    Args:
        name: as the job types that need it say in `services=`.
        per_second: calls that may begin in a second, over all workers; None: any number.
        failures: this many in a row open the breaker.
        first_hold: seconds of the first hold.
    """

    def __init__(
        self,
        name: str,
        *,
        per_second: Callable[[], float | None] = lambda: None,
        failures: int = FAILURES_THAT_OPEN,
        first_hold: float = FIRST_HOLD_SECONDS,
    ) -> None:
        self.name = name
        self._per_second = per_second
        self._first_hold = first_hold
        self._breaker = CircuitBreaker(
            fail_max=failures, reset_timeout=first_hold, name=name, throw_new_error_on_trip=False
        )
        self._lock = threading.Lock()
        self._open_until = 0.0
        self._trying = False
        #: Whether the database may have it as down: a worker that was killed leaves it so.
        self._noted_as_down = True
        _services.add(self)

    @property
    def state(self) -> str:
        """closed, open or half-open, as this process sees it."""
        return self._breaker.current_state

    @asynccontextmanager
    async def call(self) -> AsyncGenerator[None, None]:
        """One call of the service, when it may be called.

        Raises:
            ServiceHeld: when its breaker is open.
            Snooze: when its next free turn is too far away.
        """
        while (trial := self._admitted()) is None:
            await asyncio.sleep(TRIAL_TURN_SECONDS)
        try:
            await self._wait_for_turn()
            try:
                yield
            except ServiceDownError as error:
                await self._failed(error)
                raise
            except Exception:
                # It answered; what it answered is the caller's business.
                await self._answered()
                raise
            await self._answered()
        finally:
            if trial:
                self._trying = False

    def _admitted(self) -> bool | None:
        """Whether this call, which may go ahead, is the trial; None: another one is trying, ask again."""
        with self._lock:
            if self.state == STATE_CLOSED:
                return False
            if self.state == STATE_OPEN and self._open_until > time.monotonic():
                raise self._held()
            if self._trying:
                return None
            self._trying = True
            self._breaker.half_open()
            return True

    async def _wait_for_turn(self) -> None:
        per_second = self._per_second()
        if per_second is None:
            return
        wait = await asyncio.to_thread(services.take_turn, self.name, per_second, patience=TURN_PATIENCE_SECONDS)
        if wait > TURN_PATIENCE_SECONDS:
            raise Snooze(f"{self.name}: {per_second:g} calls a second are taken for {wait:.0f} s", seconds=wait)
        await asyncio.sleep(wait)

    async def _answered(self) -> None:
        with self._lock:
            if self.state == STATE_OPEN:
                return  # one that began earlier does not close what others have opened
            self._breaker.call(lambda: None)
            noted, self._noted_as_down = self._noted_as_down, False
        if noted:
            await asyncio.to_thread(self._release)

    async def _failed(self, error: ServiceDownError) -> None:
        """Counts a failure; raises ServiceHeld when the breaker was open by then: no job is charged for that again."""
        with self._lock:
            if self.state == STATE_OPEN:
                raise self._held() from error
            seconds = self._opened_by(error)
        if seconds is not None:
            await asyncio.to_thread(self._hold, seconds, error)

    def _opened_by(self, error: ServiceDownError) -> float | None:
        """How long to hold, when this failure opens the breaker."""

        def fail() -> None:
            raise error

        was_closed = self.state == STATE_CLOSED
        with suppress(ServiceDownError, CircuitBreakerError):
            self._breaker.call(fail)
        if self.state != STATE_OPEN:
            return None
        longer = min(2 * self._breaker.reset_timeout, services.LONGEST_HOLD_SECONDS)
        seconds = self._first_hold if was_closed else longer
        self._breaker.reset_timeout = seconds
        self._open_until = time.monotonic() + seconds
        return seconds

    def _held(self) -> ServiceHeld:
        left = max(0.0, self._open_until - time.monotonic())
        return ServiceHeld(f"{self.name} is not answering; tried again in {left:.0f} s", seconds=left)

    def _hold(self, seconds: float, error: ServiceDownError) -> None:
        try:
            held = services.hold(self.name, seconds=seconds, reason=str(error))
        except Exception as problem:  # the breaker works without; the other workers find out for themselves
            logger.warning("%s is down, and that cannot be written down: %s", self.name, problem)
        else:
            logger.warning("%s is down, %s held for %g s: %s", self.name, ", ".join(held) or "nothing", seconds, error)
        finally:
            self._noted_as_down = True

    def _release(self) -> None:
        try:
            services.release(self.name)
        except Exception as problem:  # the hold ends by itself; the next answer tries again
            self._noted_as_down = True
            logger.warning("%s answers, and that cannot be written down: %s", self.name, problem)
        else:
            logger.info("%s answers", self.name)

    def forget(self) -> None:
        """Closes the breaker, whatever it has seen."""
        with self._lock:
            self._breaker.close()
            self._trying = False
            self._open_until = 0.0


_services: WeakSet[Service] = WeakSet()


def forget_all() -> None:
    """Closes the breakers of this process (after a change of services)."""
    for service in list(_services):
        service.forget()
