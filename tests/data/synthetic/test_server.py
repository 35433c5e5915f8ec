"""The loopback server: files inside its folder, nothing else."""

import http.client
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffsensei.data.synthetic.server import serve


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a page.png").write_bytes(b"\x89PNG of a page")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "way-out").symlink_to(tmp_path / "secret.txt")
    with serve(folder) as base:
        yield base


def _get(base: str, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=5)
    connection.putrequest(method, path, skip_accept_encoding=True)
    connection.endheaders()
    response = connection.getresponse()
    result = response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    connection.close()
    return result


def test_a_file_comes_with_its_length_and_type(base: str) -> None:
    status, headers, body = _get(base, "/data/a%20page.png")
    assert (status, body) == (200, b"\x89PNG of a page")
    assert headers["content-length"] == str(len(body))
    assert headers["content-type"] == "image/png"
    status, headers, body = _get(base, "/data/a%20page.png", "HEAD")
    assert (status, headers["content-length"], body) == (200, "14", b"")


@pytest.mark.parametrize(
    "path",
    ["/", "/data", "/data/", "/nothing.png", "/../secret.txt", "/%2e%2e/secret.txt", "/data/..%2f..%2fsecret.txt",
     "//etc/passwd", "/way-out", "/%00", "/" + "a" * 5000],
)  # fmt: skip
def test_everything_else_is_not_found(base: str, path: str) -> None:
    status, headers, body = _get(base, path)
    assert status == 404
    assert b"secret" not in body
    assert headers["content-length"] == str(len(body))


def test_other_methods_are_refused(base: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(urllib.request.Request(f"{base}/data/a%20page.png", data=b"x"), timeout=5)


def test_one_connection_serves_many_requests(base: str) -> None:
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=5)
    for path, status in (("/data/a%20page.png", 200), ("/nothing", 404), ("/data/a%20page.png", 200)):
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == status
        response.read()
    connection.close()


def test_it_listens_on_loopback_only_and_stops(tmp_path: Path) -> None:
    with serve(tmp_path) as base:
        host, port = base.removeprefix("http://").split(":")
        assert host == "127.0.0.1"
        socket.create_connection((host, int(port)), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"), serve(tmp_path / "absent"):
        pass
