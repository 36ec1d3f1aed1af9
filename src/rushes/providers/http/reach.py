"""How far a host can be reached, step by step: its name, the proxy, the connection, TLS. Nothing is asked."""

import asyncio
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from rushes.providers.http.connection import reason_of
from rushes.providers.http.way_out import WayOut

REACH_SECONDS_MAX: Final = 15.0
"""For all steps to one host."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Step:
    """One step and how it went, in words for the operator."""

    name: str
    ok: bool
    text: str


async def reach(way_out: WayOut, url: str) -> list[Step]:
    """The steps to the URL's host, up to the first that fails; each takes the way that requests take."""
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    steps: list[Step] = []
    try:
        async with asyncio.timeout(REACH_SECONDS_MAX):
            await _reach(way_out, host, port, tls=tls, steps=steps)
    except (OSError, UnicodeError, ssl.CertificateError) as error:
        why = "timed out" if isinstance(error, TimeoutError) else reason_of(error)
        proxy = way_out.proxies.of(host, port, tls=tls)
        steps.append(Step(_failed_step(steps, behind_proxy=proxy is not None), False, why))
    return steps


async def _reach(way_out: WayOut, host: str, port: int, *, tls: bool, steps: list[Step]) -> None:
    proxy = way_out.proxies.of(host, port, tls=tls)
    if proxy is None:
        addresses = await way_out.lookups.addresses(host, port)
        steps.append(Step("name", True, ", ".join(addresses)))
    started = time.monotonic()

    async def finish(opened: socket.socket) -> str:
        milliseconds = (time.monotonic() - started) * 1000
        through = f"{proxy} opened the way" if proxy else str(opened.getpeername()[0])
        steps.append(Step("proxy" if proxy else "connection", True, f"{through} ({milliseconds:.0f} ms)"))
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol,
            sock=opened,
            ssl=ssl.create_default_context() if tls else None,
            server_hostname=host if tls else None,
        )
        secured = transport.get_extra_info("ssl_object")
        transport.abort()
        if secured is None:
            return ""
        certificate = secured.getpeercert() or {}
        return f"{secured.version()}, certificate until {certificate.get('notAfter', '?')}"

    secured = await way_out.connect(host, port, tls=tls, finish=finish)
    if tls:
        steps.append(Step("TLS", True, secured))


def _failed_step(steps: list[Step], *, behind_proxy: bool) -> str:
    done = {step.name for step in steps}
    if done & {"proxy", "connection"}:
        return "TLS"
    if behind_proxy:
        return "proxy"
    return "connection" if "name" in done else "name"
