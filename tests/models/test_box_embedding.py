"""Fourier features of a box, by hand."""

import math

import torch

from diffsensei.models.box_embedding import NUM_FREQUENCIES, BoxEmbedding, fourier_features


def test_features_are_sines_then_cosines_of_each_coordinate_at_each_frequency() -> None:
    features = fourier_features(torch.tensor([0.25, 0.5, 0.75, 1.0]))
    assert features.shape == (64,)
    frequency = 100 ** (3 / NUM_FREQUENCIES)
    place = 1 * NUM_FREQUENCIES + 3  # second coordinate, fourth frequency
    assert math.isclose(float(features[place]), math.sin(0.5 * frequency), abs_tol=1e-5)
    assert math.isclose(float(features[32 + place]), math.cos(0.5 * frequency), abs_tol=1e-5)


def test_absent_boxes_are_zero() -> None:
    torch.manual_seed(0)
    embedding = BoxEmbedding(6)
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.1, 0.1, 0.3, 0.2]]])
    embedded = embedding(boxes, torch.tensor([[True, False]]))
    assert embedded.shape == (1, 2, 6)
    assert embedded[0, 0].any()
    assert not embedded[0, 1].any()
