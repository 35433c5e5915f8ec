"""Nothing may leave this machine: an audit hook that turns every other connection and name look-up into a failure."""

import ipaddress
import sys
from typing import Any

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class SocketGuard:
    """While entered, connecting to anything but ``ports`` of loopback (any, if None) raises, and is remembered."""

    def __init__(self, ports: set[int] | None = None) -> None:
        self._ports = ports
        self.violations: list[str] = []

    def __enter__(self) -> "SocketGuard":
        _install()
        _active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _active.remove(self)

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Judge one audit event."""
        if event == "socket.getaddrinfo":
            if arguments[0] and not _is_loopback(arguments[0]):
                self._refuse(f"look-up of {arguments[0]!r}")
        elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
            host, port = arguments[1][:2]
            if not _is_loopback(host) or (self._ports is not None and port not in self._ports):
                self._refuse(f"{event} {host}:{port}")

    def _refuse(self, what: str) -> None:
        self.violations.append(what)
        raise OSError(f"the socket guard refused: {what}")


_active: list[SocketGuard] = []
_installed: list[bool] = []


def _install() -> None:
    """Once a process: audit hooks cannot be removed."""
    if _installed:
        return
    _installed.append(True)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith("socket."):
            for guard in tuple(_active):
                guard.see(event, arguments)

    sys.addaudithook(hook)


def _is_loopback(host: str | bytes) -> bool:
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if text in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False
