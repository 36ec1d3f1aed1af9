"""An authority for time stamps, made with openssl: its keys, and a server that answers by `openssl ts`."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[tsa_certificate]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
[tsa]
default_tsa = tsa_of_tests
[tsa_of_tests]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
certs = {folder}/ca.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""


def openssl(*arguments: str) -> None:
    """Run it; raises where it fails."""
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@dataclass
class Authority:
    """`status` is its HTTP status; with `repeats` it answers what it answered first."""

    folder: Path
    url: str = ""
    status: int = 200
    asked: int = 0
    answers: list[bytes] = field(default_factory=list)
    repeats: bool = False

    @property
    def certificates(self) -> Path:
        """Of who signed its certificate."""
        return self.folder / "ca.pem"

    def make_keys(self) -> None:
        """A certificate authority of its own, and the authority's certificate."""
        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "openssl.cnf"
        config.write_text(CONFIG.format(name="Tests CA", folder=folder))
        (folder / "serial").write_text("01\n")
        key = ("-newkey", "rsa:2048", "-nodes")
        openssl(
            *("req", "-x509", *key, "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.pem")),
            *("-config", str(config), "-extensions", "ca", "-days", "30"),
        )
        config.write_text(CONFIG.format(name="Tests Time", folder=folder))
        openssl(
            *("req", *key, "-keyout", str(folder / "tsa.key"), "-out", str(folder / "tsa.csr")),
            *("-config", str(config)),
        )
        openssl(
            *("x509", "-req", "-in", str(folder / "tsa.csr"), "-out", str(folder / "tsa.pem"), "-days", "20"),
            *("-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"), "-CAcreateserial"),
            *("-extfile", str(config), "-extensions", "tsa_certificate"),
        )

    def answer(self, query: bytes) -> bytes:
        """What it says to a question."""
        self.asked += 1
        if self.repeats and self.answers:
            return self.answers[0]
        asked, said = self.folder / "query.tsq", self.folder / "answer.tsr"
        asked.write_bytes(query)
        config = str(self.folder / "openssl.cnf")
        openssl("ts", "-reply", "-config", config, "-queryfile", str(asked), "-out", str(said))
        self.answers.append(said.read_bytes())
        return self.answers[-1]

    def is_stamp(self, stamp: Path, data: Path) -> bool:
        """Whether openssl verifies it."""
        ended = subprocess.run(
            ["openssl", "ts", "-verify", "-data", data, "-in", stamp, "-CAfile", self.certificates],
            capture_output=True,
            check=False,
        )
        return ended.returncode == 0


@contextlib.contextmanager
def running_authority(folder: Path) -> Iterator[Authority]:
    """One that answers."""
    authority = Authority(folder)
    authority.make_keys()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["content-type"] == "application/timestamp-query"
            body = authority.answer(query)
            self.send_response(authority.status)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    authority.url = f"http://127.0.0.1:{server.server_port}/"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
