"""Connections to hosts that have several addresses: tried in turn, 250 ms apart, the one that worked first.

RFC 8305 (happy eyeballs) for the part after the look-up: families alternate, and the attempts overlap, so an
address that does not answer costs a quarter of a second once and then nothing.
"""

import asyncio
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, zip_longest
from typing import Final, TypeVar

ATTEMPT_DELAY_SECONDS: Final = 0.25
"""How long one address is tried alone (RFC 8305, section 5)."""

HANDSHAKE_SECONDS_MAX: Final = 2.0
"""How long what follows the connection, TLS above all, may take while there is another address."""

WORKED_SECONDS: Final = 600.0
"""How long the address that worked is tried first."""

HOSTS_MAX: Final = 1024
ADDRESSES_TRIED_MAX: Final = 8

Made = TypeVar("Made")
Opened = tuple[socket.socket, str]


class Dialer:
    """Opens connections and remembers which address of each host worked; `now` is a clock in seconds."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._worked: OrderedDict[tuple[str, int], tuple[str, float]] = OrderedDict()

    async def connect(
        self,
        host: str,
        port: int,
        addresses: Sequence[str],
        finish: Callable[[socket.socket], Awaitable[Made]],
    ) -> Made:
        """What `finish` makes of a connection to one of the addresses; the socket is its own from then on.

        An address where `finish` fails is followed by the next. Raises the last `OSError` or
        `ssl.CertificateError`. How long all of it takes is bounded by the caller.
        """
        left = self._in_order(host, port, addresses)
        trouble: Exception = OSError("the host has no address")
        while left:
            try:
                opened, address, left = await _first_open(left, port)
                async with asyncio.timeout(HANDSHAKE_SECONDS_MAX if left else None):
                    made = await finish(opened)
            except _NoneOpen as none:
                raise none.trouble from None
            except (OSError, ssl.CertificateError) as error:  # TimeoutError is an OSError
                trouble = error
                continue
            self._remember(host, port, address)
            return made
        raise trouble

    def _in_order(self, host: str, port: int, addresses: Sequence[str]) -> list[str]:
        """Families in turn, as their first ones come; the one that worked before all."""
        of_first = [each for each in addresses if (":" in each) == (":" in addresses[0])]
        others = [each for each in addresses if each not in of_first]
        ordered = [each for each in chain(*zip_longest(of_first, others)) if each is not None]
        worked, at = self._worked.get((host, port), ("", 0.0))
        if worked in ordered and self._now() - at <= WORKED_SECONDS:
            ordered.remove(worked)
            ordered.insert(0, worked)
        return ordered[:ADDRESSES_TRIED_MAX]

    def _remember(self, host: str, port: int, address: str) -> None:
        self._worked.pop((host, port), None)
        self._worked[host, port] = address, self._now()
        while len(self._worked) > HOSTS_MAX:
            self._worked.popitem(last=False)


class _NoneOpen(Exception):
    """No address could be connected to."""

    def __init__(self, trouble: Exception) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


async def _first_open(addresses: Sequence[str], port: int) -> tuple[socket.socket, str, list[str]]:
    """The first connection, its address, and the addresses that may still be tried; raises `_NoneOpen`."""
    if len(addresses) == 1:
        try:
            return await _open(addresses[0], port), addresses[0], []
        except OSError as error:
            raise _NoneOpen(error) from error
    loop = asyncio.get_running_loop()
    waiting, attempts = list(addresses), dict[asyncio.Task[socket.socket], str]()
    trouble: Exception = OSError("the host has no address")
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while waiting or attempts:
            if waiting:
                address = waiting.pop(0)
                attempts[loop.create_task(_open(address, port))] = address
            done, _ = await asyncio.wait(
                attempts,
                timeout=ATTEMPT_DELAY_SECONDS if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                failure = task.exception()
                if failure is None:
                    winner = winner or task
                elif isinstance(failure, OSError):
                    del attempts[task]
                    trouble = failure
                else:
                    raise failure
            if winner is not None:
                address = attempts.pop(winner)
                return winner.result(), address, [*attempts.values(), *waiting]
        raise _NoneOpen(trouble)
    finally:
        for task in attempts:
            task.cancel()
            task.add_done_callback(_close)


def _close(task: asyncio.Task[socket.socket]) -> None:
    """An attempt that came too late, or was cancelled."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _open(address: str, port: int) -> socket.socket:
    """A TCP connection to the address."""
    opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, (address, port))
    except BaseException:
        opened.close()
        raise
    return opened
