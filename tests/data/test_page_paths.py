"""An image_path is a name: whatever could be a place elsewhere is refused."""

import hashlib

import pytest

from diffsensei.data.page_paths import check_image_path, page_id_of, series_of
from diffsensei.data.refusal import Refusal


@pytest.mark.parametrize(
    "path",
    [
        *("", "/etc/passwd", "../../x.jpg", "a/../../x.jpg", "a/./b.jpg", "a//b.jpg", "a/b/", "~/x.jpg", "~root/x"),
        *(
            "C:\\x.jpg",
            "C:/x.jpg",
            "a\\..\\b.jpg",
            "a/\0.jpg",
            "a/\n.jpg",
            "a/\x7f.jpg",
            "a/\ud800.jpg",
            "a/e\u0301.jpg",
        ),
        *("a/" + "b" * 300, "a/" * 300 + "b", ".", ".."),
    ],
)
def test_refused(path: str) -> None:
    with pytest.raises(Refusal, match="bad_path") as caught:
        check_image_path(path)
    assert caught.value.evidence.isascii()
    assert len(page_id_of(path)) == 16


@pytest.mark.parametrize("path", ["series/ch1/001.jpg", "進撃の巨人/1.png", "a b/é.jpg", "one.png", "a/...b/..c.jpg"])
def test_accepted(path: str) -> None:
    check_image_path(path)
    assert page_id_of(path) == hashlib.sha256(path.encode()).hexdigest()[:16]
    assert series_of(path) == path.split("/")[0]
