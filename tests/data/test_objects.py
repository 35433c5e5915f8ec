"""Objects are whole or absent."""

import hashlib
from pathlib import Path

from diffsensei.data.objects import Objects


def test_objects(tmp_path: Path) -> None:
    objects, other = Objects(tmp_path / "objects"), Objects(tmp_path / "other")
    digest = objects.write(b"bytes")
    assert digest == hashlib.sha256(b"bytes").hexdigest()
    assert objects.path(digest).read_bytes() == b"bytes"
    assert objects.is_intact(digest)
    assert not objects.is_intact("0" * 64)
    objects.link_to(other, digest)
    objects.link_to(other, digest)
    assert other.is_intact(digest)
    objects.path(digest).write_bytes(b"bytez")
    assert not objects.is_intact(digest)
    assert not list(tmp_path.rglob("*.part"))
