import numpy as np
import pytest

from diffsensei.evaluation.feature_cache import cached, image_digest


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
