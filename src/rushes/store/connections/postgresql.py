"""A PostgreSQL connection that waits for nothing without a bound.

A server that is gone without a word (no RST, no FIN; a proxy that swallows) answers nothing, and TCP alone
may wait for it for hours. Three bounds stand one behind the other: the server ends a statement that takes
too long (`statement_timeout`), the kernel gives up a peer that acknowledges nothing (keepalives,
`tcp_user_timeout`), and the client ends a transaction whose time is over, whatever the others think.
"""

import math
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, Self, TypeVar

import psycopg
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import InvalidatePoolError

from rushes.store.connections.bounds import (
    CONNECT_SECONDS_MAX,
    KEEPALIVE_IDLE_SECONDS,
    KEEPALIVE_INTERVAL_SECONDS,
    KEEPALIVES_MAX,
    LEASES_BY_ITS_CLOCK,
    PING_SECONDS,
    POOL_SECONDS_MAX,
    deadline_of_this_thread,
    is_over,
)

T = TypeVar("T")

_RESTS_SINCE: Final = "rushes_rests_since"

OVERTIME: Final = "the database did not answer in time"


class BoundedConnection(psycopg.Connection[Any]):
    """Every wait for the server ends at the deadline of the transaction under way, see `until`."""

    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **options: Any) -> T:
        """As psycopg's; at the deadline the connection is closed and `OperationalError` raised."""
        if deadline_of_this_thread() is not None:
            gen = _while_there_is_time(gen, give_up=self.pgconn.finish)
        return super().wait(gen, *arguments, **options)

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> Generator[Any, Any, Self]:
        """As psycopg's, which has no other place to end a connect before libpq's whole seconds are over."""
        return _while_there_is_time(super()._connect_gen(conninfo))


def _while_there_is_time(
    gen: Generator[Any, Any, T], *, give_up: Callable[[], None] = lambda: None
) -> Generator[Any, Any, T]:
    """The same exchange with the server; psycopg wakes it several times a second, ready or not."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and is_over():
                gen.close()
                give_up()
                raise psycopg.OperationalError(OVERTIME)
            wanted = gen.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


def postgresql_engine(
    url: URL, *, pool_size: int, seconds_max: float, idle_seconds: float, leases_by_its_clock: bool
) -> Engine:
    """An engine whose connections are bounded; what the URL says of TCP goes before what stands here."""
    bounds = {
        "keepalives": 1,
        "keepalives_idle": KEEPALIVE_IDLE_SECONDS,
        "keepalives_interval": KEEPALIVE_INTERVAL_SECONDS,
        "keepalives_count": KEEPALIVES_MAX,
        "tcp_user_timeout": int(seconds_max * 1000),
    }
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=2,
        pool_timeout=POOL_SECONDS_MAX,
        connect_args={name: value for name, value in bounds.items() if name not in url.query},
        execution_options={LEASES_BY_ITS_CLOCK: leases_by_its_clock},
    )
    seconds_for_connect = min(CONNECT_SECONDS_MAX, seconds_max)

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        deadline, seconds = deadline_of_this_thread(), seconds_for_connect
        if deadline is not None:
            seconds = min(seconds, deadline - time.monotonic())
        if seconds <= 0:
            raise psycopg.OperationalError(OVERTIME)
        # libpq knows whole seconds, and no less than two
        return BoundedConnection.connect(*arguments, **_with_timeout(options, seconds))

    @event.listens_for(engine, "connect")
    def _tune(connection: Any, _record: object) -> None:
        """No locks for a process that stands still, no statement without an end, and plans for disks
        without a seek.

        The default would read a whole table to find a group's rows; and compiling plans (`jit`) takes
        longer than running any of ours.
        """
        connection.execute(
            "SET random_page_cost = 1.1; SET jit = off;"
            f" SET idle_in_transaction_session_timeout = {int(idle_seconds * 1000)};"
            f" SET statement_timeout = {int(seconds_max * 1000)}"
        )
        connection.commit()

    _ping_rested(engine)
    return engine


def _ping_rested(engine: Engine) -> None:
    """Look at a connection before it is used when it has rested, and may have lost its server."""

    @event.listens_for(engine, "checkin")
    def _rests(_connection: Any, record: Any) -> None:
        record.info[_RESTS_SINCE] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ping(connection: Any, record: Any, _proxy: object) -> None:
        if time.monotonic() - record.info.get(_RESTS_SINCE, math.inf) < PING_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError from error  # the pool opens another


def _with_timeout(options: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    given = options.get("connect_timeout")
    return {**options, "connect_timeout": given or max(2, int(seconds))}
