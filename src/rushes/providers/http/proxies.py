"""Proxies: which one a request goes through, and the CONNECT that opens the way (RFC 9110, section 9.3.6).

A tunnel carries what was to go to the host, TLS from end to end: the proxy sees a name, a port and how many
bytes. Until it has answered CONNECT with 2xx nothing of a request has left.
"""

import asyncio
import base64
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

HEAD_BYTES_MAX: Final = 16 * 1024
"""The largest answer to a CONNECT, with all interim ones before it."""

NO_PROXY_ENTRIES_MAX: Final = 1000
NONE: Final = "none"
"""`RUSHES_PROXY=none`: no proxy, whatever the environment's other variables say."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r|$)")
_AUTHENTICATE: Final = 407


class ProxyRefused(OSError):
    """The proxy did not open the way: nothing of the request has left."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization` is the value of `Proxy-Authorization`, a secret."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """`host:port`, without what it is asked with."""
        return _place(self.host, self.port)


def read_proxy(url: str) -> Proxy:
    """A proxy from `http://[user:password@]host:port`, or `host:port`; no message quotes the URL.

    Raises `ValueError`.
    """
    if "://" not in url:
        url = f"http://{url}"
    scheme = url.partition("://")[0].lower()
    if scheme != "http":
        known = "SOCKS proxies are" if scheme.startswith("socks") else "TLS to the proxy itself is"
        kind = known if scheme.startswith("socks") or scheme == "https" else "any other kind is"
        raise ValueError(f"must be an HTTP proxy such as http://proxy.example.com:3128; {kind} not supported")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must be a proxy's address with its port, such as http://proxy.example.com:3128")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("must be printable ASCII without spaces; write others as %XX")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(host, port, authorization)


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy leads to a host, if any: one for https, one for http, and hosts that are reached directly.

    This machine's own addresses (`localhost`, 127.0.0.0/8, `::1`) always are: a proxy has others.
    """

    https: Proxy | None = None
    http: Proxy | None = None
    direct: tuple[str, ...] = ()

    def of(self, host: str, port: int, *, tls: bool) -> Proxy | None:
        """The proxy for this host; None to connect directly."""
        proxy = self.https if tls else self.http
        if proxy is None:
            return None
        host = host.strip("[]").rstrip(".").lower()
        if _is_this_machine(host) or any(_is_meant(entry, host, port) for entry in self.direct):
            return None
        return proxy


DIRECT: Final = Proxies()


def read_proxies(variables: Mapping[str, str]) -> Proxies:
    """From `RUSHES_PROXY`, else `HTTPS_PROXY` and `HTTP_PROXY`, each or else `ALL_PROXY`; and `NO_PROXY`.

    Raises `ValueError` that starts with the name of the variable at fault.
    """
    direct = tuple(_entries(variables.get("NO_PROXY", "")))
    own = variables.get("RUSHES_PROXY")
    if own is not None and own.lower() == NONE:
        return DIRECT
    found = []
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        used = next((each for each in ("RUSHES_PROXY", name, "ALL_PROXY") if variables.get(each)), None)
        try:
            found.append(None if used is None else read_proxy(variables[used]))
        except ValueError as error:
            other = "" if used == "RUSHES_PROXY" else "; RUSHES_PROXY is used instead where it is set"
            raise ValueError(f"{used}: {error}{other}") from None
    return Proxies(found[0], found[1], direct)


def masked_proxy(url: str, mask: str) -> str:
    """A proxy's URL for people: all that stands before the host is masked, up to the last `@`."""
    before, at, host = url.rpartition("@")
    scheme, separator, _ = before.partition("://")
    return f"{scheme + separator if separator else ''}{mask}@{host}" if at else url


def _entries(text: str) -> Iterable[str]:
    return [entry for entry in re.split(r"[\s,]+", text.strip().lower()) if entry][:NO_PROXY_ENTRIES_MAX]


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_meant(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `NO_PROXY` means this host: `*`, a name and all below it, an address, a network,
    each also with a port."""
    if entry == "*":
        return True
    bare, colon, only_port = entry.rpartition(":")
    if colon and only_port.isdecimal() and (":" not in bare or bare.endswith("]")):
        if int(only_port) != port:
            return False
        entry = bare
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        name = entry.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# --- the tunnel -----------------------------------------------------------------------------------------


async def open_tunnel(opened: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Ask the proxy at the other end of this socket for a way to the host; the socket leads there afterwards.

    Raises `ProxyRefused`, and `OSError` for a connection that breaks. The socket stays the caller's.
    """
    loop = asyncio.get_running_loop()
    place = _place(host, port)
    lines = [f"CONNECT {place} HTTP/1.1", f"host: {place}", "user-agent: rushes"]
    if proxy.authorization is not None:
        lines.append(f"proxy-authorization: {proxy.authorization}")
    await loop.sock_sendall(opened, ("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
    received, bytes_in_all = b"", 0
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        if end:
            status = _status(head)
            if not 100 <= status < 200:
                break
            received = rest
            continue
        if bytes_in_all > HEAD_BYTES_MAX:  # interim answers too: a flood of them would let nobody else run
            raise ProxyRefused("the proxy's answer is too long")
        part = await loop.sock_recv(opened, 4096)
        bytes_in_all += len(part)
        if not part:
            raise ProxyRefused("the proxy closed the connection before it answered")
        received += part
    if not 200 <= status < 300:
        why = ": it wants another user name or password" if status == _AUTHENTICATE else ""
        raise ProxyRefused(f"the proxy answered HTTP {status}{why}")
    if rest:
        raise ProxyRefused("the proxy sent more than an answer")


def _status(head: bytes) -> int:
    found = _STATUS_LINE.match(head)
    if found is None:
        raise ProxyRefused("the proxy's answer is no HTTP answer")
    return int(found[1])
