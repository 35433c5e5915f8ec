"""Archives: members by content, in natural order, verified; the bad ones are in the corpus."""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from diffsensei.data.images import encode_png
from diffsensei.data.refusal import Refusal
from diffsensei.data.sources.archives import Archive, ArchiveLimits

PNG = encode_png(np.zeros((4, 4), np.uint8))


def write(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_members_come_in_natural_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.cbz", {"10.png": PNG, "2.png": PNG, "x/": b"", "readme": b"text", "scan": PNG})
    skipped: Counter[str] = Counter()
    with Archive(path) as archive:
        found = {image.name: image.read(1000) for image in archive.offer(skipped)}
    assert list(found) == ["2.png", "10.png", "scan"]
    assert set(found.values()) == {PNG}
    assert skipped == {"no image": 1}


def test_a_bad_member_leaves_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.cbz", {"../1.png": PNG, "2.png": bytes(5000), "3.png": PNG})
    with Archive(path, ArchiveLimits(max_ratio=2, min_ratio_bytes=1000)) as archive:
        verdicts = {}
        for image in archive.offer(Counter()):
            try:
                image.read(10**6)
                verdicts[image.name] = "ok"
            except Refusal as refusal:
                verdicts[image.name] = refusal.reason
    assert verdicts == {"2.png": "zip_bomb", "3.png": "ok", "refused-00003": "bad_path"}
