"""Where a URL from outside may lead: public addresses, whatever they are called and whatever they embed."""

import asyncio
import ipaddress
import sys
from collections.abc import Sequence

import pytest

from rushes.files.guard.addresses import (
    ADDRESSES_MAX,
    UrlRefused,
    checked_addresses,
    target_of,
)
from rushes.files.guard.client import GuardedHttp, NoAnswerFromUrl
from rushes.files.guard.ranges import embedded_ipv4, is_public
from tests.providers.local_http import Exchange, http1_server

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "168.63.129.16", "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254",
    "ff02::1", "100::1", "2001:db8::1", "3fff::1", "5f00::1", "64:ff9b:1::808:808", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.1.2.3", "::ffff:0:127.0.0.1",
    "::ffff:0:192.168.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2002:a00:1::", "2002:c0a8:101::1", "2002:a9fe:a9fe::", "2001:0:7f00:1::1",
    "2001::f5ff:fffe", "2001:0:808:808:0:0:f5ff:fffe", "2a00::5efe:10.0.0.1",
    "2a00::200:5efe:127.0.0.1",
    # where the interpreter's own list changed with its patch level, or has other rules
    "192.0.0.192", "192.0.0.8", "192.0.0.9", "192.0.0.10", "192.0.0.170", "192.31.196.1", "192.52.193.1",
    "192.88.99.2", "192.175.48.6", "239.255.255.255", "100:0:0:1::1", "2001:1::1", "2001:2::1", "2001:3::1",
    "2001:4:112::1", "2001:10::1", "2001:20::1", "2001:30::1", "2001:1ff:ffff::1", "2620:4f:8000::1",
    "2001:0:808:808:0:0:f7f7:f7f7", "4000::1", "1fff::1", "200::1", "fd20:ce::254", "::ffff:192.0.0.192",
    "64:ff9b::192.0.0.192", "2002:c000:c0::1", "64:ff9b:0:0:0:1:808:808",
]  # fmt: skip

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1",
    "192.167.255.255", "223.255.255.254", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e",
    "64:ff9b::8.8.8.8", "2002:808:808::", "2a00::5efe:8.8.8.8", "::ffff:8.8.8.8", "192.0.1.1", "11.0.0.1",
    "191.255.255.255", "2001:200::1", "2003::1", "2620:4f:8001::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_in_every_form(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_embedded_addresses_are_decoded() -> None:
    def embedded(text: str) -> list[str]:
        address = ipaddress.ip_address(text)
        assert isinstance(address, ipaddress.IPv6Address)
        return [str(inner) for inner in embedded_ipv4(address)]

    assert embedded("64:ff9b::7f00:1") == ["127.0.0.1"]
    assert embedded("2002:a9fe:a9fe::5") == ["169.254.169.254"]
    assert embedded("2001:0:102:304::f5ff:fffe") == ["1.2.3.4", "10.0.0.1"]
    assert embedded("2a00::5efe:a00:1") == ["10.0.0.1"]
    assert embedded("2a00::1") == []


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://127.1/", "https://0x7f.1/", "https://0x7f000001/", "https://2130706433/",
        "https://017700000001/", "https://0177.0.0.1/", "https://127.0.0.1:8443/", "https://[::1]/",
        "https://[::ffff:7f00:1]/", "https://[0:0:0:0:0:ffff:127.0.0.1]/", "https://１２７.0.0.1/",
        "https://127。0。0。1/", "https://[64:ff9b::a9fe:a9fe]/", "https://0/", "https://169.254.169.254/latest/",
    ],
)  # fmt: skip
def test_a_private_literal_is_seen_in_every_spelling(url: str) -> None:
    with pytest.raises(UrlRefused):
        target_of(url, allow_private=False)
    assert target_of(url, allow_private=True).is_literal


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
        "//example.com",
        "https://", "https://user@example.com/", "https://user:pass@example.com/", "https://exa mple.com/",
        "https://example.com\\@10.0.0.1/", "https://example.com\n.evil/", "javascript:alert(1)", "https://[::1",
        "",
        "https://example.com:99999/", "https://example.com:0/", "https://" + "a" * 3000 + ".com/",
    ],
)  # fmt: skip
def test_what_is_no_plain_https_url_is_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        target_of(url, allow_private=False)


def addresses(*found: str, allow_private: bool = False) -> list[str]:
    """What the guard makes of a name that has these addresses."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return found

    target = target_of("https://example.com/", allow_private=allow_private)
    return asyncio.run(checked_addresses(target, allow_private=allow_private, resolve=resolve))


def test_one_private_address_refuses_the_whole_name() -> None:
    assert addresses("8.8.8.8", "2606:4700::1") == ["8.8.8.8", "2606:4700::1"]
    for mixed in (
        ("8.8.8.8", "10.0.0.1"),
        ("::1", "8.8.8.8"),
        ("64:ff9b::7f00:1",),
        ("fe80::1%eth0",),
        ("x",),
        (),
    ):
        with pytest.raises(UrlRefused):
            addresses(*mixed)
    with pytest.raises(UrlRefused):
        addresses(*(f"8.8.4.{n}" for n in range(ADDRESSES_MAX + 1)))
    assert addresses("10.0.0.1", allow_private=True) == ["10.0.0.1"]


def test_a_name_that_changes_its_mind_gains_nothing() -> None:
    """DNS rebinding: public when it is checked, private when it would be used. The checked one is used."""
    asked = 0

    async def rebinding(_host: str, _port: int) -> Sequence[str]:
        nonlocal asked
        asked += 1
        return ["203.0.114.9"] if asked == 1 else ["127.0.0.1"]

    async def scenario() -> None:
        reached: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reached.append(await reader.read(100))
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        http = GuardedHttp(allow_private=False, resolve=rebinding)
        url = f"https://rebinding.example:{port}/"
        with pytest.raises((NoAnswerFromUrl, TimeoutError)):
            async with asyncio.timeout(1):
                await http.post(url, headers={}, body=b"{}", timeout_seconds=0.5)
        with pytest.raises(UrlRefused):
            await http.post(url, headers={}, body=b"{}", timeout_seconds=1)
        await http.close()
        server.close()
        assert reached == []

    asyncio.run(scenario())
    assert asked == 2


def test_a_lookup_that_fails_or_hangs_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rushes.files.guard.addresses.LOOKUP_SECONDS_MAX", 0.1)
    target = target_of("https://example.com/", allow_private=False)

    async def fails(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such host")

    async def hangs(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(10)
        return []

    for resolve in (fails, hangs):
        with pytest.raises(UrlRefused):
            asyncio.run(checked_addresses(target, allow_private=False, resolve=resolve))


PROGRAM = """
import asyncio, sys
from rushes.files.guard.client import GuardedHttp

async def main():
    http = GuardedHttp(allow_private=True)
    async def ask():
        for _ in range(10):
            await http.post(sys.argv[1], headers={}, body=b"{}", timeout_seconds=5)
    await asyncio.gather(*(ask() for _ in range(32)))

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_process_that_ends_right_after_a_request_does_not_abort() -> None:
    """Without the wait at exit about one in ten of these runs ends with SIGABRT."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")

    async def test() -> None:
        async with http1_server(answer) as server:
            for _ in range(20):
                process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, server.url)
                assert await process.wait() == 0

    asyncio.run(test())
