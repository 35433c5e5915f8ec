"""The downloader's tests reach nothing but loopback, and say so when they try."""

import pytest

from tests.data.socket_guard import SocketGuard


@pytest.fixture(autouse=True)
def _guarded(only_loopback: SocketGuard) -> None:
    """For every test of this folder."""
