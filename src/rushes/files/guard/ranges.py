"""Which addresses are public hosts', by lists of our own.

Python's `ipaddress.is_global` changes with its patch level (3.11.7 calls Oracle's metadata service,
192.0.0.192, global) and knows no embedded IPv4. The lists here are IANA's registries of
special-purpose addresses for IPv4 and IPv6 (RFC 6890) and of IPv6 address space. Anycast addresses of
infrastructure (AS112, AMT) are refused too: no file and no webhook lives there.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

IPV4_REFUSED: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # behind a provider's NAT (RFC 6598), and some clouds' metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform address, the same inside every virtual network
        "169.254.0.0/16",  # link-local (RFC 3927), metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments (RFC 6890), Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112 (RFC 7535)
        "192.52.193.0/24",  # AMT (RFC 7450)
        "192.88.99.0/24",  # 6to4 relays, withdrawn (RFC 7526)
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112 (RFC 7534)
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the limited broadcast
    )
)
IPV6_UNICAST: Final = IPv6Network("2000::/3")
"""All that IANA gives out as global unicast: what is outside is refused without being listed."""

IPV6_REFUSED: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID, DETs, anycast (RFC 2928)
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation (RFC 9637)
    )
)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


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
    if isinstance(address, IPv4Address):
        return not any(address in network for network in IPV4_REFUSED)
    if address.scope_id is not None or any(address in network for network in IPV6_REFUSED):
        return False
    embedded = embedded_ipv4(address)
    if not all(is_public(inner) for inner in embedded):
        return False
    return address in IPV6_UNICAST or any(
        address in network for network in (_MAPPED, _COMPATIBLE, _TRANSLATED, _NAT64)
    )
