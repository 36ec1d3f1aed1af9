"""Which addresses a URL from outside may lead to: the guard against server-side request forgery.

A tenant's webhook and a provider's file may live anywhere on the public internet, and nowhere else: not on
this machine, not in the operator's network, not at a cloud's metadata service. A name is looked up once per
request, *every* address it has is checked, and the request then goes to a checked address and to no other:
a name that changes its mind between check and use (DNS rebinding) gains nothing.

What stands in a URL is read by a WHATWG parser, as browsers do, so that a host in any spelling (`0x7f.1`,
`2130706433`, fullwidth digits) is the address that is checked and connected to.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from pyreqwest.http import Url

from rushes.domain.catalogue.options import check_url
from rushes.domain.errors import RushesError
from rushes.files.guard.ranges import is_public

ADDRESSES_MAX = 32
"""Addresses of one name that are looked at; a name with more is refused."""

LOOKUP_SECONDS_MAX = 6.0
"""How long a name's lookup may take: a little more than `Lookups` waits, which keeps account of it."""

_LOCAL_DOMAINS = (
    # RFC 6761, 6762, 8375, ICANN's .internal, and those that networks use all the same (RFC 6762, appendix G)
    *(".localhost", ".local", ".home.arpa", ".internal", ".invalid", ".onion"),
    *(".intranet", ".private", ".corp", ".home", ".lan"),
)

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host name, as text; raises `OSError`."""


HOST_CHARACTERS_MAX = 253
"""The longest name that DNS can hold."""


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
    def is_tls(self) -> bool:
        """Whether it is spoken to through TLS."""
        return self.scheme == "https"

    @property
    def origin(self) -> str:
        """`scheme://host:port`, as `providers.base.origin_of` writes it."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


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
        raise UrlRefused("must be an http or https URL")
    if len(host) > HOST_CHARACTERS_MAX:
        raise UrlRefused(f"the host's name has more than {HOST_CHARACTERS_MAX} characters")
    if parsed.username or parsed.password:
        raise UrlRefused("the URL must not carry a user name or password")
    if parsed.scheme != "https" and not allow_private:
        raise UrlRefused("must be an https URL")
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


def refuse_local_name(target: Target) -> None:
    """Raises `UrlRefused` for a name that means something only within a network, whoever looks it up."""
    name = target.host.rstrip(".").lower()
    if not target.is_literal and ("." not in name or name.endswith(_LOCAL_DOMAINS)):
        raise UrlRefused("the host's name is not a public one")


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
