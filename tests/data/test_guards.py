"""The guards of the tests do see what they are there for."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.data.socket_guard import SocketGuard
from tests.data.write_guard import WriteGuard


def test_connections_and_look_ups_are_seen() -> None:
    with SocketGuard() as guard, socket.socket() as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        with pytest.raises(OSError, match="guard refused"):
            one.connect(("192.0.2.1", 443))
        with pytest.raises(OSError, match="guard refused"):
            other.sendto(b"x", ("192.0.2.1", 53))
        with pytest.raises(OSError, match="guard refused"):
            socket.getaddrinfo("pages.test.invalid", 443)
        with pytest.raises(ConnectionRefusedError):
            one.connect(("127.0.0.1", 9))
    assert len(guard.violations) == 3


def test_writing_elsewhere_is_seen(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "old").write_text("old")
    (inside / "link").symlink_to(outside)
    with WriteGuard(inside) as guard:
        (inside / "new").write_text("new")
        assert (outside / "old").read_text() == "old"
        for write in (
            lambda: (outside / "new").write_text("new"),
            lambda: (outside / "old").open("r+"),
            lambda: (inside / "link" / "new").write_text("new"),
            lambda: (inside / ".." / "out" / "new").write_text("new"),
            lambda: os.replace(inside / "new", outside / "new"),
            lambda: (outside / "link").symlink_to(inside),
            lambda: (outside / "folder").mkdir(),
            lambda: shutil.copyfile(inside / "new", outside / "new"),
            lambda: (outside / "old").unlink(),
        ):
            with pytest.raises(OSError, match="guard refused"):
                write()
    assert len(guard.violations) == 9
    assert [path.name for path in outside.iterdir()] == ["old"]
