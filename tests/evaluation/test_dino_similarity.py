import numpy as np

from diffsensei.evaluation.dino_similarity import character_crop, cosine


def test_crop_truncates_and_clamps():
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    crop = character_crop(image, (0.19, 0.0, 0.55, 1.4), 1)
    np.testing.assert_array_equal(crop, image[:10, 1:5])


def test_small_crops_are_left_out():
    image = np.zeros((10, 10), dtype=np.uint8)
    assert character_crop(image, (0, 0, 0.6, 0.5), 6) is None
    assert character_crop(image, (0, 0, 0.6, 0.6), 6).shape == (6, 6)


def test_cosine_by_hand():
    a = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    b = np.array([[2.0, 0.0], [-1.0, -1.0], [1.0, 0.0]])
    np.testing.assert_allclose(cosine(a, b), [1.0, -1.0, np.nan])
