"""A load balancer without a memory: each request goes to the next server in turn."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

OF_ONE_CONNECTION = frozenset({"connection", "transfer-encoding", "keep-alive"})


class Balancer(ThreadingHTTPServer):
    """Listens on a free port. `passed` counts the requests of each server."""

    daemon_threads = True

    def __init__(self, servers: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._servers = [urlsplit(url).netloc for url in servers]
        self._lock = threading.Lock()
        self.passed: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_server(self) -> str:
        """Host and port of who answers the next request."""
        with self._lock:
            server = self._servers[self.passed.total() % len(self._servers)]
            self.passed[server] += 1
        return server


class _Handler(BaseHTTPRequestHandler):
    server: Balancer

    def do_GET(self) -> None:
        """Pass the request on, and the answer back as it comes."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        # a browser that leaves closes its connection, a server that stops its own
        with (
            contextlib.suppress(ConnectionError),
            contextlib.closing(HTTPConnection(self.server.next_server(), timeout=60)) as beyond,
        ):
            beyond.request(self.command, self.path, body, dict(self.headers))
            answer = beyond.getresponse()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in OF_ONE_CONNECTION:
                    self.send_header(name, value)
            self.end_headers()
            while some := answer.read1(65_536):
                self.wfile.write(some)
                self.wfile.flush()

    def do_POST(self) -> None:
        """The same."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def balancing(*servers: str) -> Iterator[Balancer]:
    """One in front of these servers."""
    with Balancer(servers) as balancer:
        thread = threading.Thread(target=balancer.serve_forever, daemon=True)
        thread.start()
        yield balancer
        balancer.shutdown()
        thread.join()
