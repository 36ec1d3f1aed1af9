"""URLs that want to lead a request into a private network, and an internet of our own to count them.

As a program (`python -m tests.files.hostile_urls`) it enters a network namespace in which every address of
the internet is this machine: whatever a client connects to, public or private, a listener here accepts and
writes down the address that was meant. Nothing but real connections is counted.
"""

import asyncio
import ctypes
import json
import os
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import trustme

from rushes.files.guard.addresses import UrlRefused
from rushes.files.guard.client import GuardedHttp, NoAnswerFromUrl
from tests.files.test_net_guard import PRIVATE

TARGETS = ("127.0.0.1", "10.0.0.1", "169.254.169.254")


def spellings(address: str) -> list[str]:
    """One IPv4 address in the spellings that some parser or other takes."""
    a, b, c, d = (int(part) for part in address.split("."))
    number = (a << 24) | (b << 16) | (c << 8) | d
    digits = str.maketrans("0123456789", "０１２３４５６７８９")
    return [
        f"{number}", f"0x{number:x}", f"0X{number:08X}", f"0{number:o}", f"{a}.{b}.{(c << 8) | d}",
        f"{a}.{(b << 16) | (c << 8) | d}", f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"0x{a:x}.{b}.0{c:o}.{d}", f"{address}.",
        address.translate(digits), address.replace(".", "。"), address.replace(".", "．"),
        "".join(f"%{ord(c_):02x}" for c_ in address), f"0000{a:o}.{b}.{c}.{d}",
        f"[::ffff:{address}]", f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]", f"[::{address}]",
        f"[0:0:0:0:0:FFFF:{number >> 16:04X}:{number & 0xFFFF:04X}]", f"[::ffff:0:{address}]",
        f"[64:ff9b::{address}]", f"[64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[64:ff9b:1::{address}]", f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
        f"[2001:0:{number >> 16:x}:{number & 0xFFFF:x}::1]", f"[2a00::5efe:{address}]",
        f"8.8.8.8@{address}", f"user:pass@{address}", f"files.example%40{address}",
        f"files.example\\@{address}", f"files.example\t@{address}", f"8.8.8.8:80@{address}", f"{address}:443",
        f"{address}:8443", f"{address}:22",
    ]  # fmt: skip


def literal_urls() -> list[str]:
    """URLs whose host is a private address, however it is spelt, and others that are no good at all."""
    hosts = [f"[{address}]" if ":" in address else address for address in PRIVATE]
    hosts += [spelling for target in TARGETS for spelling in spellings(target)]
    odd = [
        "http://127.0.0.1/", "https:127.0.0.1/", "https:/10.0.0.1/", "https:///10.0.0.1/", "//127.0.0.1/",
        "https:\\\\127.0.0.1\\", "https://0/", "https://0x0/", "https://[::]/", "https://[::1%25lo]/",
        "https://127.0.0.1\n/", " https://127.0.0.1/", "https://127.0.0.1:0443/", "HTTPS://127.1/",
        "ftp://127.0.0.1/", "gopher://127.0.0.1:6379/_INFO", "file:///etc/passwd", "unix:///var/run/docker.sock",
        "data:text/html,x", "dict://127.0.0.1:6379/", "https://①②⑦.⓪.⓪.①/", "https://127.0.0.1%00.files.example/",
    ]  # fmt: skip
    return [*(f"https://{host}/x.mp4" for host in hosts), *odd]


def names() -> dict[str, list[str]]:
    """Names and all their addresses: each has a private one, alone, first, last, or among many."""
    addresses = [address for address in PRIVATE if "%" not in address]
    found = {f"only-{n}.example": [address] for n, address in enumerate(addresses)}
    found |= {f"mixed-{n}.example": ["8.8.8.8", address] for n, address in enumerate(addresses)}
    found |= {
        "localhost": ["127.0.0.1", "::1"], "localhost.": ["127.0.0.1"], "a.localhost": ["::1"],
        "metadata.google.internal": ["169.254.169.254"], "last.example": [*["8.8.8.8"] * 20, "10.0.0.1"],
        "many.example": [f"8.8.4.{n}" for n in range(60)], "none.example": [],
    }  # fmt: skip
    return found


# --- an internet of our own ------------------------------------------------------------------------------

FIRST_HOP = "8.8.4.4"
PUBLIC = {FIRST_HOP, "8.8.8.8"}
"""All public addresses that any of the URLs and names have: a connection to another one is a private one."""

PORTS = (80, 22, 443, 6379, 8443)


@dataclass
class Internet:
    """Accepts whatever comes and writes down where it was meant to go; at 443 it speaks TLS and redirects."""

    context: ssl.SSLContext
    locations: Sequence[str]
    reached: list[tuple[str, int]] = field(default_factory=list)

    def listen(self) -> None:
        """At every address and all of `PORTS`."""
        for port in PORTS:
            listener = socket.create_server(
                ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=200
            )
            threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            connection, _ = listener.accept()
            meant = str(connection.getsockname()[0]).removeprefix("::ffff:")
            self.reached.append((meant, port))
            threading.Thread(target=self._answer, args=(connection, port), daemon=True).start()

    def _answer(self, connection: socket.socket, port: int) -> None:
        try:
            connection.settimeout(5)
            if port != 443:
                return
            with self.context.wrap_socket(connection, server_side=True) as secured:
                head = secured.recv(4096).decode("latin-1")
                number = head.partition(" ")[2].partition(" ")[0].removeprefix("/to/")
                place = self.locations[int(number)] if number.isdecimal() else ""
                start = f"HTTP/1.1 302 Found\r\nlocation: {place}\r\n" if place else "HTTP/1.1 200 OK\r\n"
                secured.sendall(f"{start}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        except OSError:
            return
        finally:
            connection.close()


def own_network() -> None:
    """Enter a network namespace where all addresses are local. Raises `OSError` where that is not allowed."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        import fcntl

        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1 | 0x40))  # SIOCSIFFLAGS: up, running
    index = socket.if_nametoindex("lo")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            # a route to everywhere, of the kind `local`, in the table of local addresses
            route = struct.pack("BBBBBBBBI", family, 0, 0, 0, 255, 4, 254, 2, 0)
            route += struct.pack("HHI", 8, 4, index)
            netlink.send(struct.pack("IHHII", 16 + len(route), 24, 1 | 4 | 0x400, 1, 0) + route)
            answer = netlink.recv(4096)
            error = struct.unpack_from("i", answer, 16)[0]
            if error:
                raise OSError(-error, "a route")


async def attempts(http: GuardedHttp, url: str) -> None:
    """What the archive and a webhook would do with the URL."""
    for way in ("get", "post"):
        try:
            async with asyncio.timeout(10):
                if way == "post":
                    await http.post(url, headers={}, body=b"{}", timeout_seconds=5)
                else:
                    async with http.get(url, headers={}, timeout_seconds=5) as answer:
                        async for _ in answer.chunks:
                            pass
        except (UrlRefused, NoAnswerFromUrl, TimeoutError):
            continue


class Names:
    """A resolver: `names()`, one name that is public when it is asked first and private from then on."""

    def __init__(self) -> None:
        self.known, self.asked = names(), dict[str, int]()

    async def __call__(self, host: str, _port: int) -> list[str]:
        number = self.asked[host] = self.asked.get(host, 0) + 1
        if host.startswith("files"):
            return [FIRST_HOP]
        if host.startswith("rebind"):
            return ["8.8.8.8"] if number % 2 else ["127.0.0.1", "10.0.0.1"]
        if host not in self.known:
            raise OSError("no such name")
        return self.known[host]


async def scenario() -> dict[str, object]:
    """Everything, in our own internet; returns what was counted."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("files.example", *(f"rebind-{n}.example" for n in range(10))).configure_cert(context)
    direct = [*literal_urls(), *(f"https://{name}/x.mp4" for name in names())]
    rebinding = [f"https://rebind-{n}.example/x.mp4" for n in range(10)]
    locations = [*direct, *rebinding]
    locations.append(f"https://files.example/to/{direct.index('https://169.254.169.254/x.mp4')}")
    redirecting = [f"https://files.example/to/{n}" for n in range(len(locations))]
    internet = Internet(context, [place if place.isascii() else "" for place in locations])
    internet.listen()
    http = GuardedHttp(allow_private=False, resolve=Names(), root_certificates_pem=authority.cert_pem.bytes())
    urls = [*direct, *rebinding, *rebinding, *redirecting]
    for url in urls:
        await attempts(http, url)
    await http.close()
    guarded = list(internet.reached)
    # the same listeners see a client without a guard at once: they can count
    unguarded = GuardedHttp(allow_private=True, root_certificates_pem=authority.cert_pem.bytes())
    for host in ("10.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "127.0.0.1"):
        await attempts(unguarded, f"https://{host}/")
    await unguarded.close()
    return {
        "urls": len(set(urls)),
        "private_connects": sum(address not in PUBLIC for address, _ in guarded),
        "private": sorted({address for address, _ in guarded} - PUBLIC),
        "public_connects": sum(address in PUBLIC for address, _ in guarded),
        "private_connects_without_guard": len(internet.reached) - len(guarded),
    }


if __name__ == "__main__":
    try:
        own_network()
    except OSError as refused:
        sys.exit(f"no network of our own: {refused}")
    json.dump(asyncio.run(scenario()), sys.stdout)
    sys.stdout.flush()
    os._exit(0)
