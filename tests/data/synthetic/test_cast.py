"""Casts: reproducible, distinct within a series, different between worlds, and told apart by their looks."""

import cv2
import numpy as np
import pytest

from diffsensei.data.synthetic.cast import ACCESSORIES, HAIR_SHAPES, MAX_CAST, draw_series
from diffsensei.data.synthetic.hair import hair, hair_from_behind
from diffsensei.data.synthetic.panel import draw_character_crop
from diffsensei.seeding import numpy_stream


def test_a_series_follows_from_its_seed_alone() -> None:
    assert draw_series(5, 3) == draw_series(5, 3)
    assert draw_series(5, 3).cast != draw_series(6, 3).cast


@pytest.mark.parametrize("index", range(0, 64, 7))
def test_members_of_a_cast_share_no_silhouette(index: int) -> None:
    cast = draw_series(1, index).cast
    assert 4 <= len(cast) <= MAX_CAST
    assert len({member.hair_shape for member in cast}) == len(cast)
    assert len({member.accessory for member in cast}) == len(cast)
    assert len({member.clothes for member in cast}) >= min(len(cast), 7)


def test_keys_are_unique_in_a_world_of_the_largest_size() -> None:
    keys = [member.key for index in range(64) for member in draw_series(1, index).cast]
    assert len(set(keys)) == len(keys)


def test_neighbouring_series_have_different_styles() -> None:
    styles = [draw_series(1, index).style for index in range(16)]
    assert len({(style.bubble_shape, style.tone_pattern) for style in styles}) == 16
    assert len({draw_series(1, index).name for index in range(64)}) == 64


def test_all_looks_occur_and_clashing_ones_do_not() -> None:
    members = [member for index in range(64) for member in draw_series(1, index).cast]
    assert {member.hair_shape for member in members} == set(HAIR_SHAPES)
    assert {member.accessory for member in members} == set(ACCESSORIES)
    assert not [member for member in members if (member.hair_shape, member.accessory) == ("long", "beard")]


@pytest.mark.parametrize("shape", HAIR_SHAPES)
def test_hair_covers_the_crown_from_the_front_and_the_back(shape: str) -> None:
    front, behind = hair(shape).front, hair_from_behind(shape)
    if shape == "bald":
        assert not front
        assert not behind
        return
    for polygons in (front, behind):
        inside = [cv2.pointPolygonTest(p.astype(np.float32), (0.0, -1.0), False) >= 0 for p in polygons]
        assert any(inside)


def test_identities_are_told_apart_by_plain_pixels_at_24_px() -> None:
    """The nearest other crop, over all states and distances, mostly shows the same character."""
    series = draw_series(1, 0)
    crops, owners = [], []
    for member in series.cast:
        for draw in range(16):
            crop = draw_character_crop(numpy_stream(3, member.index, draw), series, member, 24)
            assert crop.shape == (24, 24)
            crops.append(cv2.GaussianBlur(crop.astype(np.float32), (0, 0), 1.0).ravel())
            owners.append(member.index)
    features = np.array(crops)
    features -= features.mean(axis=1, keepdims=True)
    distances = ((features[:, None] - features[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    hits = np.array(owners)[distances.argmin(axis=1)] == np.array(owners)
    assert hits.mean() > 0.65
