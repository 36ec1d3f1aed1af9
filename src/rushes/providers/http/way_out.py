"""The one way out: every connection to a provider, a webhook's receiver or a file's host is opened here.

Names are looked up on threads of their own (`lookups`), addresses tried a quarter of a second apart
(`dialing`), and where a proxy leads to the host it is asked to open the way (`proxies`): it gets the name and
looks it up.
"""

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from rushes.providers.http.connection import reason_of
from rushes.providers.http.dialing import Dialer
from rushes.providers.http.lookups import Lookups
from rushes.providers.http.proxies import DIRECT, Proxies, Proxy, ProxyRefused, open_tunnel

Made = TypeVar("Made")
Finish = Callable[[socket.socket], Awaitable[Made]]
"""Makes something of a connected socket, TLS and all; it owns the socket, whatever happens to it."""


class WayOut:
    """Connections to hosts, each directly or through its proxy."""

    def __init__(self, *, lookups: Lookups | None = None, proxies: Proxies = DIRECT) -> None:
        self.lookups = lookups or Lookups()
        self.proxies = proxies
        self._dialer = Dialer()

    async def connect(self, host: str, port: int, *, tls: bool, finish: Finish[Made]) -> Made:
        """A connection to the host. Its name is looked up here only when no proxy leads to it.

        Raises `OSError`, `UnicodeError` for what is no name, and `ssl.CertificateError`: `finish` has made
        nothing then. The caller bounds the time.
        """
        proxy = self.proxies.of(host, port, tls=tls)
        if proxy is not None:
            return await self.connect_through(proxy, host, port, finish)
        return await self.connect_to(host, port, await self.lookups.addresses(host, port), finish)

    async def connect_to(self, host: str, port: int, addresses: Sequence[str], finish: Finish[Made]) -> Made:
        """The same, to one of these addresses and no other."""
        return await self._dialer.connect(host, port, addresses, finish)

    async def connect_through(self, proxy: Proxy, host: str, port: int, finish: Finish[Made]) -> Made:
        """The same through the proxy, which gets this host, a name or an address, as it is."""

        is_open = False

        async def open_and_finish(opened: socket.socket) -> Made:
            nonlocal is_open
            try:
                await open_tunnel(opened, proxy, host, port)
            except BaseException:
                opened.close()
                raise
            is_open = True
            return await finish(opened)

        try:
            addresses = await self.lookups.addresses(proxy.host, proxy.port)
            return await self._dialer.connect(proxy.host, proxy.port, addresses, open_and_finish)
        except ProxyRefused as error:
            raise ProxyRefused(f"{error} ({proxy})") from None
        except (OSError, UnicodeError) as error:
            if is_open or isinstance(error, TimeoutError):
                raise
            why = reason_of(error)
            raise ProxyRefused(f"the proxy {proxy} cannot be reached: {why}") from error
