import numpy as np
import pytest
import torch

from diffsensei.foundations.views import as_input, random_views, square_processor, squashed


@pytest.mark.parametrize("kind", ["clip", "vit", "bit"])
def test_training_and_processor_see_the_same_pixels(kind: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 45)).astype(np.uint8)
    processor = square_processor(kind, 48)
    colour = np.repeat(image[:, :, None], 3, axis=2)
    expected = processor(images=[colour], return_tensors="pt").pixel_values
    torch.testing.assert_close(as_input(squashed([image], 48)), expected, atol=1e-5, rtol=0)


def test_views_are_reproducible_small_changes_in_range() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32)).astype(np.uint8)
    images = np.kron(images[:, ::8, ::8], np.ones((8, 8), np.uint8))
    one, two, other = (random_views(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    torch.testing.assert_close(one, two, atol=0, rtol=0)
    assert one.shape == (8, 3, 32, 32)
    assert float(one.abs().max()) <= 1
    assert not torch.equal(one, other)
    assert float((one - as_input(images)).abs().mean()) < 0.35
