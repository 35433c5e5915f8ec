import os
import time

import numpy as np
import pytest

from diffsensei.evaluation.feature_cache import DAY_S, cached, cached_detections, image_digest, prune


class Encoder:
    """Features that tell images apart; remembers how many it saw."""

    def __init__(self, gain: float = 1.0) -> None:
        self.seen: list[int] = []
        self.gain = gain

    def __call__(self, images):
        self.seen.append(len(images))
        return np.array([[self.gain * image.mean(), image.std()] for image in images], np.float32).reshape(-1, 2)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size=(6, 8), dtype=np.uint8) for _ in range(5)]


def test_every_picture_is_seen_once_and_the_order_is_kept(images, tmp_path):
    encoder = Encoder()
    look = cached(encoder, tmp_path, "a")
    np.testing.assert_array_equal(look([*images, images[0]]), Encoder()([*images, images[0]]))
    np.testing.assert_array_equal(look(images[::-1]), Encoder()(images[::-1]))
    assert encoder.seen == [5]
    again = Encoder()
    np.testing.assert_array_equal(cached(again, tmp_path, "a")(images), Encoder()(images))
    assert again.seen == []


def test_another_encoder_or_preparation_sees_for_itself(images, tmp_path):
    cached(Encoder(), tmp_path, "a")(images)
    other = Encoder(gain=2.0)
    np.testing.assert_array_equal(cached(other, tmp_path, "b")(images), Encoder(2.0)(images))
    assert other.seen == [5]


def test_a_run_that_finds_files_asks_as_one_that_finds_none(images, tmp_path):
    """Which pictures come together decides an encoder's last bits, so what others left must not change that."""
    cached(Encoder(), tmp_path, "a")(images[:2])
    encoder = Encoder()
    look = cached(encoder, tmp_path, "a")
    look(images)
    assert encoder.seen == [5]
    look([*images[3:], images[0] // 2])
    assert encoder.seen == [5, 1]


def test_shape_counts_as_well_as_pixels():
    flat = np.arange(12, dtype=np.uint8)
    assert image_digest(flat.reshape(3, 4)) != image_digest(flat.reshape(4, 3))


def test_nothing_to_see_is_nothing(tmp_path):
    assert cached(Encoder(), tmp_path, "a")([]).shape == (0, 2)


def test_a_broken_file_is_one_line_with_what_to_do(images, tmp_path):
    cached(Encoder(), tmp_path, "a")(images)
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match="delete the file"):
        cached(Encoder(), tmp_path, "a")(images)


@pytest.mark.parametrize("characters", [True, False])
def test_boxes_are_looked_for_once_and_come_back_as_they_were(images, tmp_path, characters):
    seen = []

    def detect(pictures):
        seen.append(len(pictures))
        found = [np.full((round(picture.mean()) % 3, 4), picture.mean(), np.float32) for picture in pictures]
        return [(boxes, boxes[:1] * 2 if characters else None) for boxes in found]

    direct = detect(images)
    first = cached_detections(detect, tmp_path, "detector at 0.3")([*images, images[0]])
    again = cached_detections(detect, tmp_path, "detector at 0.3")([*images, images[0]])
    assert seen == [5, 5]
    assert len({len(boxes) for boxes, _ in direct}) > 1
    for found in (first, again):
        for (boxes, people), (true_boxes, true_people) in zip(found, [*direct, direct[0]], strict=True):
            np.testing.assert_array_equal(boxes, true_boxes)
            assert (people is None) == (not characters)
            if characters:
                np.testing.assert_array_equal(people, true_people)
    cached_detections(detect, tmp_path, "detector at 0.4")(images)
    assert seen == [5, 5, 5], "another threshold finds other boxes"
    assert cached_detections(detect, tmp_path, "detector at 0.3")([]) == []


def test_what_was_not_used_for_a_while_is_pruned(images, tmp_path):
    look = cached(Encoder(), tmp_path, "a")
    look(images[:2])
    look(images[2:])
    old, used = sorted(tmp_path.glob("*/*.npz"))
    torn = old.with_suffix(".77.partial")
    torn.write_bytes(b"xx")
    month_ago = time.time() - 31 * DAY_S
    for path in (old, used, torn):
        os.utime(path, (month_ago, month_ago))
    other = tmp_path / old.parent.name / "note.txt"
    other.write_text("not ours")
    os.utime(other, (month_ago, month_ago))
    cached(Encoder(), tmp_path, "a")(images[:2])  # one of the two is used again
    fresh = [path for path in (old, used) if path.stat().st_mtime > month_ago + DAY_S]
    assert len(fresh) == 1

    planned = prune(tmp_path, 30, dry_run=True)
    assert (planned.num_files, planned.kept_files) == (2, 1)
    assert old.exists()
    assert torn.exists()
    assert prune(tmp_path, 30, dry_run=False) == planned
    assert [path for path in (old, used, torn) if path.exists()] == fresh
    assert other.exists()
    assert prune(tmp_path, 30, dry_run=False).num_files == 0
    assert prune(tmp_path / "absent", 30, dry_run=False).kept_files == 0


def test_less_than_a_day_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"at least one day without use, got 0\.5"):
        prune(tmp_path, 0.5, dry_run=True)
