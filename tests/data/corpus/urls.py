"""Urls that an annotation file, a redirect or a name server might send the downloader to. None may be sent a byte.

Each goes through the real fetcher, under a guard that fails on any connection but to the one loopback port that plays
the allowed host of a redirect, and on any look-up of a name that is not given here.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from diffsensei.config.schema import DownloadConfig
from diffsensei.data.download.addresses import resolve_host
from diffsensei.data.download.fetching import ImageFetcher
from diffsensei.data.refusal import Refusal
from tests.data.corpus.entry import Entry
from tests.data.socket_guard import SocketGuard

DOWNLOAD = DownloadConfig(
    requests_per_s=1000.0,
    max_connections=1,
    timeout_s=5.0,
    max_attempts=1,
    max_bytes=1000,
    max_megapixels=1.0,
    allowed_hosts=("mangadex.org", "mangadex.network"),
)
REDIRECTING_HOST = "redirecting.mangadex.org"


def _verdict(url: str, folder: Path, routes: Mapping[str, str], ports: set[int], names: Mapping[str, str]) -> str:
    """The reason for which the fetcher refuses ``url``; ``names`` is what the name server says."""

    async def resolve(host: str) -> Sequence[str]:
        return [names[host]] if host in names else await resolve_host(host)

    async def fetch() -> None:
        async with ImageFetcher(
            DOWNLOAD, contact="x", version="1", limits=folder / "limits", routes=routes, resolve=resolve
        ) as fetcher:
            await fetcher.fetch(url)

    with SocketGuard(ports) as guard:
        try:
            asyncio.run(fetch())
            verdict = "accepted"
        except Refusal as refusal:
            verdict = refusal.reason
    return f"tried {guard.violations[0]}" if guard.violations else verdict


def _directly(url: str, names: Mapping[str, str] | None = None) -> Callable[[Path], str]:
    return lambda folder: _verdict(url, folder, {}, set(), names or {})


def _redirected(location: str, names: Mapping[str, str] | None = None) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        with _redirecting(location) as port:
            routes = {REDIRECTING_HOST: f"http://127.0.0.1:{port}"}
            return _verdict(f"https://{REDIRECTING_HOST}/a.png", folder, routes, {port}, names or {})

    return run


@contextmanager
def _redirecting(location: str) -> Iterator[int]:
    """The port of a server on loopback that sends everybody to ``location``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SPELLINGS: tuple[tuple[str, str, str], ...] = (
    ("loopback", "https://127.0.0.1/a.png", "forbidden_host"),
    ("loopback, short", "https://127.1/a.png", "forbidden_host"),
    ("loopback, hexadecimal", "https://0x7f000001/a.png", "forbidden_host"),
    ("loopback, one number", "https://2130706433/a.png", "forbidden_host"),
    ("loopback, octal", "https://0177.0.0.1/a.png", "bad_url"),
    ("loopback, mapped to v6", "https://[::ffff:127.0.0.1]/a.png", "forbidden_host"),
    ("loopback, v6", "https://[::1]/a.png", "forbidden_host"),
    ("loopback, trailing dot", "https://127.0.0.1./a.png", "forbidden_host"),
    ("any address", "https://0.0.0.0/a.png", "forbidden_host"),
    ("localhost", "https://localhost/a.png", "forbidden_host"),
    ("cloud metadata", "https://169.254.169.254/latest/meta-data", "forbidden_host"),
    ("cloud metadata by name", "https://metadata.google.internal/computeMetadata/v1/", "forbidden_host"),
    ("a file", "file:///etc/passwd", "bad_url"),
    ("ftp", "ftp://uploads.mangadex.org/a.png", "bad_url"),
    ("gopher", "gopher://mangadex.org:6379/_FLUSHALL", "bad_url"),
    ("plain http", "http://uploads.mangadex.org/a.png", "bad_url"),
    ("a script", "javascript:alert(1)", "bad_url"),
    ("data", "data:image/png;base64,iVBORw0KGgo=", "bad_url"),
    ("no scheme", "//uploads.mangadex.org/a.png", "bad_url"),
    ("no host", "https:///a.png", "bad_url"),
    ("userinfo", "https://user:password@uploads.mangadex.org/a.png", "bad_url"),
    ("allowed host as userinfo", "https://mangadex.org@evil.example/a.png", "bad_url"),
    ("backslash before the host", "https://evil.example\\@mangadex.org/a.png", "bad_url"),
    ("another port", "https://uploads.mangadex.org:8443/a.png", "bad_url"),
    ("port of redis", "https://mangadex.org:6379/", "bad_url"),
    ("ends like an allowed host", "https://evilmangadex.org/a.png", "forbidden_host"),
    ("begins like an allowed host", "https://mangadex.org.evil.example/a.png", "forbidden_host"),
    ("begins like one, trailing dot", "https://mangadex.org.evil.example./a.png", "forbidden_host"),
    ("allowed host as fragment", "https://evil.example#.mangadex.org/a.png", "forbidden_host"),
    ("allowed host as query", "https://evil.example?.mangadex.org", "forbidden_host"),
    ("allowed host, percent-encoded slash", "https://evil.example%2f.mangadex.org/a.png", "bad_url"),
    ("Cyrillic letter in the host", "https://m\u0430ngadex.org/a.png", "bad_url"),
    ("full-width host", "https://\uff4d\uff41\uff4e\uff47\uff41\uff44\uff45\uff58.org/a.png", "bad_url"),
    ("ideographic full stop", "https://evil\u3002mangadex.org/a.png", "bad_url"),
    ("slash look-alike", "https://evil.example\u2044.mangadex.org/a.png", "bad_url"),
    ("zero-width space", "https://mangadex.org\u200b.evil.example/a.png", "bad_url"),
    ("right-to-left mark", "https://\u202egro.xedagnam/a.png", "bad_url"),
    ("header injection", "https://mangadex.org/a.png\r\nHost: evil.example", "bad_url"),
    ("NUL", "https://mangadex.org\x00.evil.example/a.png", "bad_url"),
    ("tab in the host", "https://manga\tdex.org/a.png", "bad_url"),
    ("blank in front", " https://mangadex.org/a.png", "bad_url"),
    ("overlong", "https://mangadex.org/" + "a" * 100_000, "bad_url"),
    ("overlong label", "https://" + "a" * 300 + ".mangadex.org/a.png", "unreachable"),
    ("empty", "", "bad_url"),
    ("broken v6", "https://[::1/a.png", "bad_url"),
    ("scoped v6", "https://[fe80::1%25eth0]/a.png", "bad_url"),
)
"""Refused by their spelling alone."""

ADDRESSES: tuple[tuple[str, str], ...] = (
    ("loopback", "127.0.0.1"),
    ("private", "10.1.2.3"),
    ("link-local metadata", "169.254.169.254"),
    ("carrier-grade NAT", "100.64.0.1"),
    ("unspecified", "0.0.0.0"),
    ("mapped to v6", "::ffff:127.0.0.1"),
    ("unique local v6", "fd00::1"),
    ("multicast", "224.0.0.1"),
    ("NAT64 of loopback", "64:ff9b::7f00:1"),
    ("6to4 of loopback", "2002:7f00:1::1"),
)
"""What a name server may say of an allowed host."""

REDIRECTS: tuple[tuple[str, str, str], ...] = (
    ("to metadata", "https://169.254.169.254/latest/meta-data", "forbidden_host"),
    ("to loopback, plain", "http://127.0.0.1:22/", "bad_url"),
    ("to a file", "file:///etc/shadow", "bad_url"),
    ("to another host", "//evil.example/a.png", "forbidden_host"),
    ("to itself", f"https://{REDIRECTING_HOST}/a.png", "too_many_redirects"),
    ("to a rebound name", "https://inside.mangadex.org/a.png", "private_address"),
)

ENTRIES: tuple[Entry, ...] = (
    *(Entry(name, "url", reason, _directly(url)) for name, url, reason in SPELLINGS),
    *(
        Entry(
            f"allowed host at an address: {name}",
            "url",
            "private_address",
            _directly("https://mangadex.org/a.png", {"mangadex.org": address}),
        )
        for name, address in ADDRESSES
    ),
    Entry(
        "allowed host with a trailing dot, inside",
        "url",
        "private_address",
        _directly("https://mangadex.org./a.png", {"mangadex.org.": "10.0.0.7"}),
    ),
    *(
        Entry(f"redirect {name}", "url", reason, _redirected(location, {"inside.mangadex.org": "10.0.0.7"}))
        for name, location, reason in REDIRECTS
    ),
)
