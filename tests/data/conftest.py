"""The guard and the server that tests of the downloader share."""

from collections.abc import Iterator

import pytest

from tests.data.hostile_server import HostileServer, hostile_server
from tests.data.socket_guard import SocketGuard


@pytest.fixture
def only_loopback() -> Iterator[SocketGuard]:
    """Fails the test that tried to reach anything outside."""
    with SocketGuard() as guard:
        yield guard
    assert guard.violations == []


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with hostile_server() as hostile:
        yield hostile
