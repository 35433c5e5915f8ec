import numpy as np

from diffsensei.evaluation.jpeg_match import jpeg_round_trip


def test_flat_areas_stay_and_texture_changes_more_at_lower_quality():
    flat = np.full((24, 40), 128, np.uint8)
    np.testing.assert_array_equal(jpeg_round_trip(flat, 75), flat)
    noise = np.random.default_rng(0).integers(0, 256, size=(24, 40), dtype=np.uint8)
    errors = [np.abs(jpeg_round_trip(noise, quality).astype(int) - noise).mean() for quality in (30, 75, 95)]
    assert errors[0] > errors[1] > errors[2] > 0
    assert jpeg_round_trip(noise, 75).shape == noise.shape
