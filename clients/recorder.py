"""A way to the simulator that keeps what was sent: bodies and paths of submits."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Recorder:
    """`url` is where to send to; `submits` are the paths and JSON bodies of what was posted there."""

    url: str = ""
    submits: list[tuple[str, Any]] = field(default_factory=list)

    def take(self) -> tuple[str, Any]:
        """The only submit since the last call. Raises `ValueError` for none, and for several."""
        (one,) = self.submits
        self.submits.clear()
        return one


@contextmanager
def recording(upstream: str) -> Iterator[Recorder]:
    """Forward every request to the simulator at that URL."""
    recorder, place = Recorder(), urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.command == "POST":
                recorder.submits.append((self.path, json.loads(body)))
            connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers.get("content-type", "application/json"))
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            connection.close()

        do_GET = do_POST = forward  # noqa: N815 the server's own names

        def log_message(self, format: str, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    recorder.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
