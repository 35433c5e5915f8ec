"""Annotation files may name any address; only public https hosts on the list are contacted."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from diffsensei.data.download.addresses import PinnedTransport, check_url, require_public
from diffsensei.data.refusal import Refusal

ALLOWED = ("mangadex.org",)


def reason_of(url: str) -> str:
    with pytest.raises(Refusal) as caught:
        check_url(url, allowed_hosts=ALLOWED, routes={"pages.test.invalid": "http://127.0.0.1:1"})
    return caught.value.reason


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://uploads.mangadex.org/data/a/1.png", "bad_url"),
        ("ftp://uploads.mangadex.org/a.png", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
        ("gopher://mangadex.org/", "bad_url"),
        ("https://user:pass@uploads.mangadex.org/a.png", "bad_url"),
        ("https://uploads.mangadex.org:8443/a.png", "bad_url"),
        ("https:///a.png", "bad_url"),
        ("", "bad_url"),
        ("not a url", "bad_url"),
        ("https://mangadex.org/\r\nHost: evil", "bad_url"),
        ("https://mangadex.org/" + "a" * 5000, "bad_url"),
        ("https://[::1", "bad_url"),
        ("https://evil.example/a.png", "forbidden_host"),
        ("https://evilmangadex.org/a.png", "forbidden_host"),
        ("https://mangadex.org.evil.example/a.png", "forbidden_host"),
        ("https://127.0.0.1/a.png", "forbidden_host"),
        ("https://127.1/a.png", "forbidden_host"),
        ("https://0x7f000001/a.png", "forbidden_host"),
        ("https://[::ffff:127.0.0.1]/a.png", "forbidden_host"),
        ("https://169.254.169.254/latest/meta-data", "forbidden_host"),
        ("http://pages.test.invalid/a.png", "bad_url"),
    ],
)
def test_forbidden_spellings(url: str, reason: str) -> None:
    assert reason_of(url) == reason


def test_allowed_spellings() -> None:
    for url in (
        "https://mangadex.org/a.png",
        "https://UPLOADS.mangadex.org/data/x/1.png",
        "https://a.b.mangadex.org/x",
    ):
        assert check_url(url, allowed_hosts=ALLOWED, routes={}).scheme == "https"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:a00:1::1"),
        *("::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "224.0.0.1", "255.255.255.255"),
    ],
)
def test_private_addresses(address: str) -> None:
    with pytest.raises(Refusal, match="private_address"):
        require_public("host", [address])
    with pytest.raises(Refusal, match="private_address"):
        require_public("host", ["93.184.216.34", address])


def test_public_addresses() -> None:
    assert require_public("host", ["93.184.216.34", "2606:2800:220:1::1"]) == "93.184.216.34"
    assert require_public("host", ["64:ff9b::5db8:d822"]) == "64:ff9b::5db8:d822", "a network that has only IPv6"


def test_second_dns_answer_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that turns private between check and use: the connection goes to what was checked, or nowhere."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])

    async def rebinding(host: str) -> Sequence[str]:
        return next(answers)

    contacted: list[tuple[str, str | None]] = []

    async def record(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        contacted.append((request.url.host, request.extensions.get("sni_hostname")))
        assert request.headers["host"] == "mangadex.org"
        return httpx.Response(200)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", record)

    async def ask() -> None:
        transport = PinnedTransport(routes={}, max_connections=1, resolve=rebinding)
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get("https://mangadex.org/a.png")
            with pytest.raises(Refusal, match="private_address"):
                await client.get("https://mangadex.org/b.png")

    asyncio.run(ask())
    assert contacted == [("93.184.216.34", "mangadex.org")]
