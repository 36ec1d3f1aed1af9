"""Which addresses a URL from outside may lead to: the guard against server-side request forgery.

A tenant's webhook and a provider's file may live anywhere on the public internet, and nowhere else: not on
this machine, not in the operator's network, not at a cloud's metadata service. A name is looked up once per
request, *every* address it has is checked, and the request then goes to a checked address and to no other:
a name that changes its mind between check and use (DNS rebinding) gains nothing.

What stands in a URL is read by the HTTP client's own parser (WHATWG), so that a host in any spelling
(`0x7f.1`, `2130706433`, fullwidth digits) is checked as the client would use it.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TypeAlias

from pyreqwest.http import Url

from rushes.domain.errors import RushesError
from rushes.domain.options import check_url

ADDRESSES_MAX = 32
"""Addresses of one name that are looked at; a name with more is refused."""

LOOKUP_SECONDS_MAX = 5.0
"""How long a name's lookup may take."""

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host name, as text; raises `OSError`."""

# addresses that Python calls global and that lead, or may lead, to no public host
_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's platform address, the same inside every virtual network
        "192.88.99.0/24",  # 6to4 relays, withdrawn (RFC 7526)
        "fec0::/10",  # site-local, withdrawn (RFC 3879)
        "64:ff9b:1::/48",  # NAT64 for local use (RFC 8215)
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment routing (RFC 9602)
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = (0x00005EFE, 0x02005EFE)


class UrlRefused(RushesError):
    """The URL leads to a place where no request may go, or to no place at all."""

    code = "URL_REFUSED"


class HostNotFound(UrlRefused):
    """The name has no address, or none that could be learned in time: it may have one later."""

    retryable = True


@dataclass(frozen=True, slots=True)
class Target:
    """Where a checked URL leads. `is_literal` when the host is an address and needs no lookup."""

    scheme: str
    host: str
    port: int
    is_literal: bool

    @property
    def origin(self) -> str:
        """`scheme://host:port`, as `providers.base.origin_of` writes it."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def embedded_ipv4(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses to which a packet for this IPv6 address may be translated or tunnelled.

    IPv4-mapped and -compatible (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052), 6to4 (RFC 3056),
    Teredo's server and client (RFC 4380), ISATAP (RFC 5214).
    """
    bits = int(address)
    if any(address in network for network in (_MAPPED, _COMPATIBLE, _TRANSLATED, _NAT64)):
        return [IPv4Address(bits & 0xFFFFFFFF)]
    if address in _6TO4:
        return [IPv4Address(bits >> 80 & 0xFFFFFFFF)]
    if address in _TEREDO:
        return [IPv4Address(bits >> 64 & 0xFFFFFFFF), IPv4Address(~bits & 0xFFFFFFFF)]
    if (bits >> 32) & 0xFFFFFFFF in _ISATAP:
        return [IPv4Address(bits & 0xFFFFFFFF)]
    return []


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is a public host's, whatever it may be translated to on the way."""
    if any(address in network for network in _REFUSED_NETWORKS):
        return False
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        embedded = embedded_ipv4(address)
        if embedded:
            return all(is_public(inner) for inner in embedded)
    return address.is_global and not address.is_multicast


def target_of(url: str, *, allow_private: bool) -> Target:
    """Where the URL leads, with all checks that need no lookup; raises `UrlRefused`.

    Without `allow_private` it must be https, and a host that is an address must be a public one.
    """
    try:
        check_url(url)
        parsed = Url(url)
    except ValueError as error:
        raise UrlRefused(str(error)) from None
    host, port = parsed.host_str, parsed.port_or_known_default
    if parsed.scheme not in ("http", "https") or not host or not port:
        raise UrlRefused("must be a http or https URL")
    if parsed.username or parsed.password:
        raise UrlRefused("the URL must not carry a user name or password")
    if parsed.scheme != "https" and not allow_private:
        raise UrlRefused("must be a https URL")
    literal = _literal(host)
    if literal is not None and not allow_private and not is_public(literal):
        raise UrlRefused("the URL's address is not a public one")
    return Target(parsed.scheme, host.strip("[]"), port, is_literal=literal is not None)


async def checked_addresses(target: Target, *, allow_private: bool, resolve: Resolver) -> list[str]:
    """The addresses to which a request may now be sent; raises `UrlRefused`.

    One address that is not public refuses them all: an honest name does not mix them.
    """
    if target.is_literal:
        return [target.host]
    try:
        async with asyncio.timeout(LOOKUP_SECONDS_MAX):
            found = list(dict.fromkeys(await resolve(target.host, target.port)))
    except (OSError, UnicodeError, TimeoutError):
        raise HostNotFound("the host has no address") from None
    if not found:
        raise HostNotFound("the host has no address")
    if len(found) > ADDRESSES_MAX:
        raise UrlRefused("the host has too many addresses")
    for text in found:
        address = _literal(text)
        if address is None or not (allow_private or is_public(address)):
            raise UrlRefused("the host has an address that is not a public one")
    return found


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses that the system knows for a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for _family, _type, _protocol, _name, sockaddr in found]


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
