"""The grounding resampler: names and sizes as published, what its queries know, what empty slots say."""

import math

import pytest
import torch

from diffsensei.baselines.ms_diffusion.grounding import GroundingResampler, box_features

QUERIES, WIDTH = 2, 12


@pytest.fixture(scope="module")
def grounding() -> GroundingResampler:
    torch.manual_seed(0)
    return GroundingResampler(
        dim=16, depth=1, heads=2, head_dim=8, num_queries=QUERIES, clip_dim=6, phrase_dim=5, output_dim=WIDTH
    ).eval()


def tokens(
    grounding: GroundingResampler,
    boxes: torch.Tensor,
    *,
    exists: tuple[bool, ...] = (True, False),
    phrase: float = 1.0,
    grounded: bool = True,
) -> torch.Tensor:
    images = torch.randn(1, 2, 3, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return grounding(images, boxes, torch.tensor([exists]), torch.full((5,), phrase), torch.tensor([grounded]))


BOXES = torch.tensor([[[0.1, 0.2, 0.6, 0.9], [0.0, 0.0, 0.0, 0.0]]])


def test_published_sizes() -> None:
    with torch.device("meta"):
        published = GroundingResampler(
            dim=1280, depth=4, heads=20, head_dim=64, num_queries=16, clip_dim=1664, phrase_dim=768, output_dim=2048
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in published.state_dict().items()}
    assert shapes["grounding_latents"] == (1, 16, 1280)
    assert shapes["latent_proj.0.weight"] == (1664, 832)
    assert shapes["latent_proj.2.weight"] == (20480, 1664)
    assert shapes["proj_out.weight"] == (2048, 1280)
    assert shapes["layers.3.1.1.weight"] == (5120, 1280)
    assert round(sum(parameter.numel() for parameter in published.parameters()) / 1e6) == 119


def test_box_features_by_hand() -> None:
    features = box_features(torch.tensor([0.1, 0.2, 0.6, 0.9]))
    assert features.shape == (64,)
    for k in (0, 5):
        frequency = 100 ** (k / 8)
        expected = [math.sin(frequency * v) for v in (0.1, 0.2, 0.6, 0.9)]
        expected += [math.cos(frequency * v) for v in (0.1, 0.2, 0.6, 0.9)]
        torch.testing.assert_close(features[8 * k : 8 * k + 8], torch.tensor(expected), atol=1e-5, rtol=0)


def test_absent_subjects_and_the_outside_are_zero(grounding: GroundingResampler) -> None:
    found = tokens(grounding, BOXES)
    assert found.shape == (1, 3 * QUERIES, WIDTH)
    assert (found[:, :QUERIES] == 0).all()
    assert (found[:, 2 * QUERIES :] == 0).all()
    assert (found[:, QUERIES : 2 * QUERIES] != 0).any()
    assert (tokens(grounding, BOXES, exists=(False, False)) == 0).all()


def test_queries_know_phrase_and_box_unless_dropped(grounding: GroundingResampler) -> None:
    moved = BOXES + torch.tensor([0.1, 0.0, 0.1, 0.0])
    base = tokens(grounding, BOXES)
    assert not torch.allclose(base, tokens(grounding, moved))
    assert not torch.allclose(base, tokens(grounding, BOXES, phrase=2.0))
    blind = tokens(grounding, BOXES, grounded=False)
    assert torch.equal(blind, tokens(grounding, moved, phrase=2.0, grounded=False))
    assert not torch.allclose(base, blind)
