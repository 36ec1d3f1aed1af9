"""Places for videos: a folder, and a real S3 server; without rights, without a bucket, full, or away."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rushes.domain.errors import ArchiveUnavailable, NotFound, SettingsError
from rushes.files.objects import NameTaken, ObjectStore, local_folder
from tests.files.file_host import CLIP, Reply
from tests.files.vault import Vault, run

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class S3:
    """A server that speaks S3 (moto), in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as any_port:
            self.port = any_port.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Listen; its buckets are empty."""
        with (self._folder / "s3.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                self.ask("GET", "/")
                break
            assert time.monotonic() < deadline, (self._folder / "s3.log").read_text()
            time.sleep(0.1)
        self.ask("PUT", "/videos")

    def down(self) -> None:
        """Refuse connections."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """A request that needs no signature."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            content: bytes = answer.read()
            return content


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = S3(tmp_path_factory.mktemp("s3"))
    server.up()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ENDPOINT": f"http://127.0.0.1:{server.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret-canary",
            "AWS_REGION": "us-east-1",
        }.items():
            environment.setenv(name, value)
        yield server
    server.down()


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty archive, once a folder and once a bucket."""
    if request.param == "folder":
        return str(tmp_path / "objects")
    request.getfixturevalue("s3")
    return f"s3://videos/{tmp_path.name}"


async def put(store: ObjectStore, key: str, content: bytes) -> None:
    await store.put_new(key, content, bytes_count=len(content), sha256=hashlib.sha256(content).hexdigest())


async def all_of(store: ObjectStore, key: str, first: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, first=first, end=end)])


def test_what_is_put_is_read_in_whole_and_in_parts_and_never_written_over(place: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = ObjectStore(place)
        await store.check(b"probe")
        await put(store, "a/b/1.mp4", CONTENT)
        await put(store, "a/b/1.mp4", CONTENT)  # the same again is as good
        with pytest.raises(NameTaken):
            await put(store, "a/b/1.mp4", CONTENT + b"!")
        file = tmp_path / "file"
        file.write_bytes(CONTENT)
        await store.put_new("a/b/2.mp4", file, bytes_count=len(CONTENT), sha256=DIGEST)
        for key in ("a/b/1.mp4", "a/b/2.mp4"):
            assert await all_of(store, key) == CONTENT
            assert await all_of(store, key, 100, 300) == CONTENT[100:300]
            assert await all_of(store, key, 10_000) == CONTENT[10_000:]
            assert (await store.size_of(key), await store.sha256_of(key)) == (len(CONTENT), DIGEST)
        await store.remove("a/b/1.mp4")
        await store.remove("a/b/1.mp4")
        for ask in (store.size_of, store.sha256_of):
            with pytest.raises(NotFound):
                await ask("a/b/1.mp4")

    asyncio.run(scenario())


def test_names_that_lead_elsewhere_or_name_a_folder_are_not_in_the_archive(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = ObjectStore(str(tmp_path / "objects"))
        await put(store, "a/1.mp4", CONTENT)
        (tmp_path / "secret").write_bytes(CONTENT)
        for key in ("../secret", str(tmp_path / "secret"), "a", "a/1.mp4/2", "b/1.mp4"):
            with pytest.raises(NotFound):
                await all_of(store, key)

    asyncio.run(scenario())


def test_a_reader_that_stops_in_the_middle_closes_the_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = ObjectStore(str(tmp_path))
        await put(store, "1.mp4", bytes(3 * 1024 * 1024))
        chunks = store.read("1.mp4")
        assert await anext(chunks)
        await chunks.aclose()
        assert str(tmp_path / "1.mp4") not in [file.path for file in psutil.Process().open_files()]

    asyncio.run(scenario())


def test_a_large_object_goes_up_in_parts_and_is_not_written_over(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rushes.files.objects.ONE_PUT_BYTES_MAX", 1024 * 1024)
    content = os.urandom(12 * 1024 * 1024)
    file = tmp_path / "large"
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()

    async def scenario() -> None:
        store = ObjectStore(place)
        for _ in range(2):
            await store.put_new("large.mp4", file, bytes_count=len(content), sha256=digest)
        assert await store.sha256_of("large.mp4") == digest
        with pytest.raises(NameTaken):
            await store.put_new("large.mp4", file, bytes_count=len(content), sha256="0" * 64)

    asyncio.run(scenario())


def said(place: str) -> str:
    """What an operator is told of a place that cannot be used."""
    with pytest.raises(ArchiveUnavailable) as error:
        asyncio.run(ObjectStore(place).check(b"probe"))
    message = error.value.message
    assert "\n" not in message
    assert "secret-canary" not in message
    assert len(message) < 300
    return message


def test_without_bucket_or_rights_or_server_it_is_said_in_one_line(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said("s3://nobody-made-this/x") == "the archive's bucket does not exist"
    (tmp_path / "file").write_text("not a folder")
    assert "cannot be used" in said(str(tmp_path / "file"))
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    assert "cannot be used" in said("s3://videos/x")
    with pytest.raises(SettingsError):
        local_folder("ftp://videos")


def test_a_key_without_rights_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses, as S3 does for a key that may not write."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Refusing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(403)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-canary",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    assert said("s3://videos/x") == "the archive refuses access; check the rights and credentials"
    server.shutdown()
    server.server_close()


def test_an_s3_server_that_goes_away_and_comes_back_loses_nothing(
    vault: Vault, s3: S3, tmp_path: Path
) -> None:
    """Archiving into a bucket, while its server is down for a while."""
    vault.settle(*[Reply(CLIP)] * 6)
    objects = ObjectStore(f"s3://videos/{tmp_path.name}")
    archiver = vault.archiver(objects=objects, retry_seconds=(0.01, 0.02))

    async def scenario() -> None:
        s3.down()
        for _ in range(3):
            await vault.work(archiver)
            await asyncio.sleep(0.05)
        assert archiver.trouble is not None
        assert {row["state"] for row in vault.files()} == {"due"}
        s3.up()
        for _ in range(10):
            await asyncio.sleep(0.05)
            await vault.work(archiver, seconds=2)
        assert archiver.trouble is None
        for row in vault.files():
            assert row["state"] == "stored"
            assert await objects.sha256_of(row["video_key"]) == row["sha256"]

    run(scenario)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; making one needs root."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no small file system can be made here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_nothing(vault: Vault, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 8192))
    vault.settle(*[Reply(CLIP)] * 3)
    archiver = vault.archiver(objects=ObjectStore(str(small_disk / "archive")), retry_seconds=(0.01, 0.02))

    async def scenario() -> None:
        for _ in range(3):
            await vault.work(archiver)
            await asyncio.sleep(0.05)
        assert archiver.trouble == "no space is left for the archive; free some"
        assert {row["state"] for row in vault.files()} == {"due"}
        ballast.unlink()
        for _ in range(5):
            await asyncio.sleep(0.05)
            await vault.work(archiver, seconds=2)
        for row in vault.files():
            assert row["state"] == "stored"
            assert (small_disk / "archive" / row["video_key"]).read_bytes() == CLIP

    run(scenario)
