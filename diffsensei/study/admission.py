"""Who a request is from: personal tokens, signed cookies, tokens against forged requests, and limits on trying."""

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from diffsensei.study.packets import token_digest

MAX_TRACKED = 10_000


class Admission:
    """Sessions that outlive a restart of the server: a cookie is the packet's name, signed with the study's secret."""

    def __init__(self, invitations: Mapping[str, str], secret: bytes) -> None:
        self._invitations, self._secret = invitations, secret

    def admitted(self, token: str) -> str | None:
        """The packet that ``token`` opens, if any."""
        return self._invitations.get(token_digest(token))

    def cookie(self, packet: str) -> str:
        """The value of the session's cookie."""
        return f"{packet}.{self._signed('session', packet)}"

    def packet_of(self, cookie: str | None) -> str | None:
        """The packet of a cookie that this study signed."""
        packet, _, signature = (cookie or "").partition(".")
        return packet if hmac.compare_digest(signature.encode(), self._signed("session", packet).encode()) else None

    def form_token(self, packet: str) -> str:
        """What a page that may read the packet sends along with a vote, and another site's page cannot know."""
        return self._signed("form", packet)

    def is_form_token(self, packet: str, given: str) -> bool:
        """Whether ``given`` is that of ``packet``."""
        return hmac.compare_digest(given.encode(), self.form_token(packet).encode())

    def _signed(self, purpose: str, packet: str) -> str:
        return hmac.new(self._secret, f"{purpose}/{packet}".encode(), hashlib.sha256).hexdigest()


def server_secret(study: Path) -> bytes:
    """The study's signing secret in ``votes/server.secret``, made at the first call. Needs the ledger to be held."""
    path = study / "votes" / "server.secret"
    if not path.is_file():
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    return path.read_bytes()


class Limiter:
    """At most ``burst`` events at once and ``per_s`` in the long run, for each name."""

    def __init__(self, burst: float, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._per_s, self._clock = burst, per_s, clock
        self._left: dict[str, tuple[float, float]] = {}

    def allows(self, name: str) -> bool:
        """Whether ``name`` has something left, nothing being spent."""
        return self._tokens(name) >= 1

    def spend(self, name: str) -> bool:
        """Whether one more event of ``name`` is allowed; if so it counts."""
        tokens = self._tokens(name)
        if tokens < 1:
            return False
        if len(self._left) >= MAX_TRACKED and name not in self._left:
            self._left = {key: value for key, value in self._left.items() if self._tokens(key) < self._burst}
            if len(self._left) >= MAX_TRACKED:
                return False
        self._left[name] = (tokens - 1, self._clock())
        return True

    def _tokens(self, name: str) -> float:
        tokens, since = self._left.get(name, (self._burst, self._clock()))
        return min(self._burst, tokens + (self._clock() - since) * self._per_s)
