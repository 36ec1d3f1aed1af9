"""Addresses of host names, on threads of their own.

The system's look-up blocks a thread for as long as its name servers say nothing: 10 to 40 s. Event loops
have a few threads for it, and one silent name server keeps them all busy. Here each name has one look-up at
a time, each asker (an account, say) a few, and what was learned is kept for a moment: the addresses, and that
there are none. While a look-up fails or takes long, the addresses that were found last are used; TLS tells
whether they are still the host's.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, TypeAlias

LOOKUP_SECONDS_MAX: Final = 5.0
"""How long anyone waits for a look-up."""

FRESH_SECONDS: Final = 5.0
"""How long an answer is taken without asking again; the system says nothing of a name's time to live."""

NEGATIVE_SECONDS: Final = 5.0
"""How long a failure is taken without asking again."""

LAST_GOOD_SECONDS_MAX: Final = 3600.0
"""How long addresses are used while a look-up fails for another reason than that there are none
(RFC 8767)."""

LAST_GOOD_AFTER_SECONDS: Final = 1.0
"""How long a new look-up is waited for when there are addresses from before (RFC 8767 suggests 1.8)."""

THREADS_MAX: Final = 32
THREADS_PER_ASKER_MAX: Final = 2
"""So one name server that says nothing leaves an account a thread for its other names."""

THREADS_OF_SLOW_ASKERS_MAX: Final = THREADS_MAX // 2
"""For all askers whose look-ups took too long lately: the rest is for those that are well."""

SLOW_SECONDS: Final = 60.0
NAMES_MAX: Final = 1024
SLOW_ASKERS_MAX: Final = 1024

_NO_SUCH_NAME: Final = frozenset(
    {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None), getattr(socket, "EAI_ADDRFAMILY", None)}
)

LookUp: TypeAlias = Callable[[str, int], Sequence[str]]
"""Gives the addresses of a host name in the order in which to try them, blocking; raises `OSError`."""


def system_lookup(host: str, port: int) -> Sequence[str]:
    """The addresses that the system knows, in its order (RFC 6724)."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for _family, _type, _protocol, _name, sockaddr in found]


@dataclass(slots=True, eq=False)
class _Running:
    """One look-up on its thread."""

    asker: str
    started: float
    found: "Future[Sequence[str]]" = field(default_factory=Future)


@dataclass(slots=True)
class _Name:
    """What is known of a name."""

    addresses: tuple[str, ...] = ()
    found_at: float = float("-inf")
    error: Exception | None = None
    failed_at: float = float("-inf")
    running: _Running | None = None


class Lookups:
    """Looks names up; for one event loop at a time.

    `look_up` is what runs on the threads, `now` a clock in seconds.
    """

    def __init__(
        self,
        *,
        look_up: LookUp = system_lookup,
        threads_max: int = THREADS_MAX,
        seconds_max: float = LOOKUP_SECONDS_MAX,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._threads_max = threads_max
        self._seconds_max = seconds_max
        self._now = now
        self._names: OrderedDict[tuple[str, int], _Name] = OrderedDict()
        self._running: set[_Running] = set()
        self._slow: OrderedDict[str, float] = OrderedDict()

    async def addresses(self, host: str, port: int, *, asker: str = "") -> Sequence[str]:
        """The host's addresses, each once; a host that is an address is its own.

        Raises `OSError` when there are none, `TimeoutError` (which is one) when that is not known in time,
        and `UnicodeError` for what is no name.
        """
        if _is_address(host):
            return [host]
        name = self._name(host, port)
        self._learn(name)
        now = self._now()
        if now - name.found_at <= FRESH_SECONDS:
            return name.addresses
        if name.error is not None and now - name.failed_at <= NEGATIVE_SECONDS:
            return self._last_good(name, name.error)
        seconds = self._seconds_max
        if name.addresses and now - name.found_at <= LAST_GOOD_SECONDS_MAX:
            seconds = min(seconds, LAST_GOOD_AFTER_SECONDS)
            if name.running is not None and self._age(name.running) >= seconds:
                return name.addresses
        try:
            async with asyncio.timeout(seconds):
                await self._found(name, host, port, asker)
        except TimeoutError:
            if name.running is not None and self._age(name.running) >= self._seconds_max / 2:
                self._mark_slow(name.running.asker)
            return self._last_good(name, TimeoutError("the name servers did not answer in time"))
        if name.error is not None:
            return self._last_good(name, name.error)
        return name.addresses

    async def _found(self, name: _Name, host: str, port: int, asker: str) -> None:
        """Wait for this name's look-up, or for a place for a new one and for that."""
        while name.running is None:
            if not self._is_full(asker):
                self._start(name, host, port, asker)
                break
            await _first_of(self._running)
            self._learn(name)
        running = name.running
        if running is not None:
            if self._is_late(running):
                raise TimeoutError
            with contextlib.suppress(Exception):  # whatever it is, `_learn` keeps it
                await asyncio.wrap_future(running.found)
            self._learn(name)

    def _start(self, name: _Name, host: str, port: int, asker: str) -> None:
        running = name.running = _Running(asker, self._now())
        running.found.set_running_or_notify_cancel()  # a waiter that is cancelled leaves it to the others
        self._running.add(running)

        def run() -> None:
            try:
                running.found.set_result(self._look_up(host, port))
            except Exception as error:
                running.found.set_exception(error)

        try:
            # a daemon: the process does not wait for a name server when it ends
            threading.Thread(target=run, name="rushes-lookup", daemon=True).start()
        except RuntimeError as error:
            running.found.set_exception(OSError(f"no thread for a look-up: {error}"))

    def _learn(self, name: _Name) -> None:
        """Take what a look-up that has ended found."""
        self._running = {each for each in self._running if not each.found.done()}
        running = name.running
        if running is None or not running.found.done():
            return
        name.running = None
        error = running.found.exception()
        if error is None and running.found.result():
            name.addresses = tuple(dict.fromkeys(running.found.result()))
            name.found_at, name.error = self._now(), None
        else:
            name.error = error if isinstance(error, OSError | UnicodeError) else OSError("no address")
            name.failed_at = self._now()

    def _last_good(self, name: _Name, error: Exception) -> Sequence[str]:
        """The addresses from before, unless they are too old or the name is gone; raises `error`."""
        is_gone = isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME
        if name.addresses and not is_gone and self._now() - name.found_at <= LAST_GOOD_SECONDS_MAX:
            return name.addresses
        raise error.with_traceback(None)

    # --- bounds -----------------------------------------------------------------------------------------

    def _name(self, host: str, port: int) -> _Name:
        key = (host, port)
        name = self._names.pop(key, None) or _Name()
        self._names[key] = name
        while len(self._names) > NAMES_MAX:
            self._names.popitem(last=False)
        return name

    def _age(self, running: _Running) -> float:
        return self._now() - running.started

    def _is_late(self, running: _Running) -> bool:
        return self._age(running) >= self._seconds_max

    def _is_full(self, asker: str) -> bool:
        """Whether this asker may start no look-up now."""
        if len(self._running) >= self._threads_max:
            return True
        if not asker:
            return False
        if sum(each.asker == asker for each in self._running) >= THREADS_PER_ASKER_MAX:
            return True
        if not self._is_slow(asker):
            return False
        of_slow = sum(self._is_slow(each.asker) or self._is_late(each) for each in self._running)
        return of_slow >= min(THREADS_OF_SLOW_ASKERS_MAX, self._threads_max // 2)

    def _is_slow(self, asker: str) -> bool:
        return self._slow.get(asker, float("-inf")) > self._now()

    def _mark_slow(self, asker: str) -> None:
        self._slow.pop(asker, None)
        self._slow[asker] = self._now() + SLOW_SECONDS
        while len(self._slow) > SLOW_ASKERS_MAX:
            self._slow.popitem(last=False)


async def _first_of(running: set[_Running]) -> None:
    """Wait until one of them has ended."""
    waits = [asyncio.wrap_future(each.found) for each in running]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            if wait.done() and not wait.cancelled():
                wait.exception()  # looked at: it is its own waiter's
            else:
                wait.cancel()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
