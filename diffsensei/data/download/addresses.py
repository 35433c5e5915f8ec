"""Which addresses the downloader may contact: https, listed hosts, public addresses, pinned to what was checked.

Annotation files come from the internet, so their urls could name a machine inside the network of whoever runs this.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx

from diffsensei.data.refusal import Refusal

Resolver = Callable[[str], Awaitable[Sequence[str]]]

MAX_URL_LENGTH = 2048
AUTHORITY = re.compile(r"[a-z]+://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?:[/?#]|$)", re.ASCII | re.IGNORECASE)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


async def resolve_host(host: str) -> Sequence[str]:
    """Every address ``host`` has; raises `Refusal` ``unreachable`` when it has none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refusal("unreachable", f"no address for {host}", state="missing", transient=True) from None
    return [str(entry[4][0]) for entry in found]


def check_url(url: str, *, allowed_hosts: Sequence[str], routes: Mapping[str, str]) -> httpx.URL:
    """``url`` parsed, when its spelling alone permits contact: a host in ``routes``, or https to an allowed suffix.

    Raises `Refusal`: ``bad_url`` or ``forbidden_host``.
    """
    if len(url) > MAX_URL_LENGTH or any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise Refusal("bad_url", repr(url[:80]))
    # Before it is parsed: parsers disagree on what a host in other scripts, or with a %2f in it, comes down to.
    if AUTHORITY.match(url) is None:
        raise Refusal("bad_url", f"expected https://host/path, came {url[:80]!r}")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise Refusal("bad_url", repr(url[:80])) from None
    if parsed.scheme != "https" or not parsed.host or parsed.userinfo or parsed.port is not None:
        raise Refusal("bad_url", f"expected https://host/path, came {url[:80]!r}")
    host = parsed.host.lower().rstrip(".")
    if host not in routes and not any(host == suffix or host.endswith(f".{suffix}") for suffix in allowed_hosts):
        raise Refusal("forbidden_host", host)
    return parsed


def require_public(host: str, addresses: Sequence[str]) -> str:
    """The first of ``addresses`` if all are on the public internet; raises `Refusal` ``private_address`` otherwise."""
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        reached = _carried(address) if isinstance(address, ipaddress.IPv6Address) else address
        if not reached.is_global or reached.is_multicast:
            raise Refusal("private_address", f"{host} is at {text}")
    return addresses[0]


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 address leads to (mapped, 6to4, NAT64), else itself."""
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class PinnedTransport(httpx.AsyncBaseTransport):
    """Connects to the very address that was checked, so that a second DNS answer cannot lead elsewhere.

    Hosts in ``routes`` go to the base url given there (the only way to loopback); TLS still verifies the host's name.
    """

    def __init__(self, *, routes: Mapping[str, str], max_connections: int, resolve: Resolver = resolve_host) -> None:
        self._routes = {host: httpx.URL(base) for host, base in routes.items()}
        self._resolve = resolve
        limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
        self._inner = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` to its pinned address; raises `Refusal` for a private one."""
        host = request.url.host
        base = self._routes.get(host)
        extensions = dict(request.extensions)
        if base is not None:
            url = request.url.copy_with(scheme=base.scheme, host=base.host, port=base.port)
        else:
            url = request.url.copy_with(host=require_public(host, await self._resolve(host)))
            extensions["sni_hostname"] = host
        pinned = httpx.Request(
            request.method, url, headers=request.headers, stream=request.stream, extensions=extensions
        )
        return await self._inner.handle_async_request(pinned)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def is_loopback(host: str) -> bool:
    """Whether ``host``, an address or a name, is this machine; names but ``localhost`` are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
