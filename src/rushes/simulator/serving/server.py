"""The simulator over real HTTP, on an event loop or in a thread of its own.

async with SimulatorServer(SimulatorKnobs(seed=7)) as simulator:
    simulator.base_url                      # http://127.0.0.1:<port>

with running_simulator(PRESETS["stormy"]) as simulator:     # for synchronous tests
    simulator.base_url, simulator.report().deliveries
"""

import asyncio
import contextlib
import secrets
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from rushes.domain.errors import InputError
from rushes.simulator.core import SimulatorCore
from rushes.simulator.knobs import SimulatorKnobs
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.report import SimulatorReport
from rushes.simulator.serving.callback_sender import CallbackPump, CallbackSender, HttpCallbackSender
from rushes.simulator.serving.connection import Connection

CONNECTIONS_MAX: Final = 10_000
IDLE_SECONDS_MAX: Final = 120.0
_BACKLOG = 1024
Answer = TypeVar("Answer")


class SimulatorServer:
    """Serves a core on `host` and `port` (0: any free one); an async context manager.

    `clock` gives seconds for the core (default: the loop's); `ssl_context` turns TLS on (HTTP/1.1 only);
    `public_url` replaces the address in result files' URLs when a client reaches the server by another;
    `id_salt` is the core's, by default a new one: a real service never gives one task id twice.
    Callbacks are posted to whatever URL a submit names: keep the server on a trusted network.
    """

    def __init__(
        self,
        knobs: SimulatorKnobs,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        public_url: str | None = None,
        callback_sender: CallbackSender | None = None,
        id_salt: str | None = None,
    ) -> None:
        self.core = SimulatorCore(knobs, id_salt=secrets.token_hex(8) if id_salt is None else id_salt)
        self._host, self._port, self._public_url = host, port, public_url
        self._clock, self._ssl_context = clock, ssl_context
        self._callback_sender = callback_sender
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._pump: CallbackPump | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self.base_url = ""

    async def __aenter__(self) -> Self:
        """Listen. Raises `InputError` when the address cannot be had."""
        loop = asyncio.get_running_loop()
        clock = self._clock = self._clock or loop.time
        pump = CallbackPump(self.core, self._callback_sender or HttpCallbackSender(), clock=clock, loop=loop)
        handle = partial(_handle, self.core, pump, clock)
        try:
            self._server = await loop.create_server(
                lambda: Connection(handle, loop=loop, opened=self._opened, closed=self._connections.discard),
                self._host,
                self._port,
                ssl=self._ssl_context,
                backlog=_BACKLOG,
            )
        except (OSError, OverflowError) as error:
            field = "host" if isinstance(error, socket.gaierror) else "port"
            raise InputError(f"cannot listen on {self._host}:{self._port}: {error}", field=field) from error
        port = self._server.sockets[0].getsockname()[1]
        scheme = "http" if self._ssl_context is None else "https"
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.base_url = f"{scheme}://{host}:{port}"
        self.core.start(clock(), base_url=self._public_url or self.base_url)
        self._pump = pump
        self._sweep(loop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, drop the connections, forget unsent callbacks."""
        assert self._server is not None
        assert self._pump is not None
        self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections):
            connection.reset()
        await self._pump.close()
        await self._server.wait_closed()

    def report(self, *, tasks: bool = True) -> SimulatorReport:
        """What the simulator saw so far."""
        assert self._clock is not None
        return self.core.report(self._clock(), tasks=tasks)

    def _opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        if len(self._connections) > CONNECTIONS_MAX:
            connection.reset()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        moment = loop.time() - IDLE_SECONDS_MAX
        for connection in [each for each in self._connections if each.is_idle_since(moment)]:
            connection.close()
        self._sweeper = loop.call_later(IDLE_SECONDS_MAX / 4, self._sweep, loop)


def _handle(
    core: SimulatorCore, pump: CallbackPump, clock: Callable[[], float], request: SimRequest
) -> SimResponse:
    response = core.handle(request, clock())
    pump.wake()
    return response


async def serve_simulator(
    knobs: SimulatorKnobs,
    *,
    host: str = "127.0.0.1",
    port: int = 8787,
    ssl_context: ssl.SSLContext | None = None,
    public_url: str | None = None,
    ready: Callable[[str], None] = lambda base_url: None,
) -> SimulatorReport:
    """Serve until SIGINT, SIGTERM or SIGHUP, then give the report; `ready` is called with the base URL.

    For the main thread of a process. Raises `InputError` when the address cannot be had.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, stopped.set)
    try:
        server = SimulatorServer(knobs, host=host, port=port, ssl_context=ssl_context, public_url=public_url)
        async with server:
            ready(server.base_url)
            await stopped.wait()
            return server.report()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def run_simulator(knobs: SimulatorKnobs, **options: Any) -> SimulatorReport:
    """`serve_simulator` with the same options on an event loop of its own (uvloop where it is installed)."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(serve_simulator(knobs, **options))


class SimulatorThread:
    """A `SimulatorServer` on an event loop in a thread; a context manager for synchronous code.

    Takes the options of `SimulatorServer`.
    """

    def __init__(self, knobs: SimulatorKnobs, **options: Any) -> None:
        self._server = SimulatorServer(knobs, **options)
        self._thread = threading.Thread(target=self._run, name="rushes-simulator", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None

    @property
    def base_url(self) -> str:
        """Where it serves."""
        return self._server.base_url

    def __enter__(self) -> Self:
        """Start; raises what the server's start raises."""
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and wait for the thread; raises what went wrong in it."""
        assert self._loop is not None
        assert self._stop is not None
        with contextlib.suppress(RuntimeError):  # the loop has already ended, with an error
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def report(self, *, tasks: bool = True) -> SimulatorReport:
        """What the simulator saw so far."""
        return self._on_loop(lambda: self._server.report(tasks=tasks))

    def use(self, knobs: SimulatorKnobs) -> None:
        """Change the knobs."""
        self._on_loop(lambda: self._server.core.use(knobs))

    def _on_loop(self, act: Callable[[], Answer]) -> Answer:
        """The core is not thread-safe: whatever touches it runs on its loop."""
        assert self._loop is not None
        answer: Future[Answer] = Future()

        def run() -> None:
            try:
                answer.set_result(act())
            except Exception as error:
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return answer.result()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._server:
            self._started.set()
            await self._stop.wait()


@contextlib.contextmanager
def running_simulator(knobs: SimulatorKnobs | None = None, **options: Any) -> Iterator[SimulatorThread]:
    """A simulator in a thread, for the length of a `with`; takes the options of `SimulatorServer`."""
    with SimulatorThread(knobs or SimulatorKnobs(), **options) as simulator:
        yield simulator


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop
