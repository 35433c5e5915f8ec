"""Whole pages through the tiny Magi."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

from diffsensei.foundations.loading import load_magi_image_encoder
from diffsensei.magi.magi import Magi
from diffsensei.magi.page import MagiPage
from diffsensei.magi.reading_order import Reading
from diffsensei.magi.suppression import Thresholds
from tests.magi.test_network import hidden_states, mlp, sigmoid
from tests.magi.tiny_magi import STATE

Pages = list[NDArray[np.uint8]]


def same(one: MagiPage, two: MagiPage, atol: float = 0.0) -> None:
    for field in fields(MagiPage):
        np.testing.assert_allclose(getattr(one, field.name), getattr(two, field.name), atol=atol, err_msg=field.name)


def test_pages_hold_every_label(magi: Magi, pages: Pages) -> None:
    read = magi.read_pages(pages)
    assert max(len(page.panels) for page in read) > 1
    assert max(len(page.texts) for page in read) > 1
    assert max(len(page.characters) for page in read) > 1
    assert any(len(page.text_characters) for page in read)
    for page, image in zip(read, pages, strict=True):
        height, width = image.shape[:2]
        for boxes in (page.panels, page.characters, page.texts):
            assert boxes.dtype == np.float64
            assert (boxes >= 0).all()
            assert (boxes <= [width, height, width, height]).all()
        assert (np.diff(page.character_scores) <= 0).all()
        assert len(page.character_clusters) == len(page.characters) == len(page.character_scores)
        assert len(page.dialog_scores) == len(page.texts) == len(page.text_scores)
        assert (page.dialog_scores[page.text_characters[:, 0]] > 0.4).all()
        assert (page.text_scores > 0.25).all()


def test_the_same_twice(magi: Magi, pages: Pages) -> None:
    for one, two in zip(magi.read_pages(pages), magi.read_pages(pages), strict=True):
        same(one, two)


def test_neighbours_do_not_matter(magi: Magi, pages: Pages) -> None:
    together = magi.read_pages(pages)
    for page, expected in zip(pages, together, strict=True):
        (alone,) = magi.read_pages([page])
        same(alone, expected, atol=1e-3)
    for one, two in zip(together, magi.read_pages(pages, batch_size=1), strict=True):
        same(one, two, atol=1e-3)


def test_colours_do_not_matter(magi: Magi, pages: Pages) -> None:
    grey = np.asarray(Image.fromarray(pages[0]).convert("L"))
    one, two = magi.read_pages([pages[0], grey])
    same(one, two)


def test_characters_and_texts_by_hand(magi: Magi, magi_folder: Path, pages: Pages) -> None:
    """Pair scores of a page from stored weights, hidden states and crops cut here."""
    weights, page = load_file(magi_folder / STATE), pages[2]
    (objects,), (read,) = magi.detect_objects([page]), magi.read_pages([page])
    states = hidden_states(magi, page)
    height, width = page.shape
    kept = [i for i in np.argsort(-objects.scores) if objects.labels[i] == 0 and objects.scores[i] > 0.3]
    np.testing.assert_allclose(read.characters, np.clip(objects.boxes[kept], 0, [width, height] * 2))

    crops = []
    for x1, y1, x2, y2 in objects.boxes[kept]:
        left, top = max(int(x1), 0), max(int(y1), 0)
        right, bottom = min(max(int(x2), left + 10), width), min(max(int(y2), top + 10), height)
        crop = page[min(top, bottom - 10) : bottom, min(left, right - 10) : right]
        crops.append(np.stack([crop] * 3, axis=-1))
    encoder = load_magi_image_encoder(str(magi_folder))
    with torch.no_grad():
        pixels = encoder.processor(images=crops, return_tensors="pt").pixel_values
        embedded = encoder.model(pixels).last_hidden_state[:, 0].numpy()

    logits = np.array(
        [
            [
                mlp(
                    weights,
                    "character_character_matching_head",
                    np.concatenate([states[a], embedded[i], states[b], embedded[j], states[-5]]),
                )[0]
                for j, b in enumerate(kept)
            ]
            for i, a in enumerate(kept)
        ]
    )
    scores = sigmoid((logits + logits.T) / 2)
    strongest = np.sort(scores[np.triu_indices(len(kept), 1)])[-4:]
    cut = float(strongest[:2].mean())
    (read,) = magi.read_pages([page], thresholds=Thresholds(same_character=cut))
    assert 1 < len(set(read.character_clusters)) < len(kept)
    for i in range(len(kept)):
        reached = {i}
        while True:
            more = {j for k in reached for j in range(len(kept)) if scores[k, j] > cut} | reached
            if more == reached:
                break
            reached = more
        assert reached == set(np.flatnonzero(read.character_clusters == read.character_clusters[i]))

    assert len(read.text_characters) > 0
    for text, character in read.text_characters:
        (index,) = [
            i
            for i in range(len(objects.scores))
            if objects.labels[i] == 1 and objects.scores[i] == read.text_scores[text]
        ]
        features = [np.concatenate([states[index], states[k], states[-4]]) for k in kept]
        said = mlp(weights, "text_character_matching_head", np.stack(features))[:, 0]
        assert character == said.argmax()
        dialog = sigmoid(mlp(weights, "is_this_text_a_dialogue", states[index]))[0]
        assert read.dialog_scores[text] == pytest.approx(dialog, abs=1e-4)


def test_thresholds_are_arguments(magi: Magi, pages: Pages) -> None:
    (all_kept,) = magi.read_pages([pages[2]], thresholds=Thresholds(covered_panel=1.0, overlapping_text=1.0))
    (none,) = magi.read_pages([pages[2]], thresholds=Thresholds(character=1.0, panel=1.01, text=1.0))
    (default,) = magi.read_pages([pages[2]])
    assert len(all_kept.panels) + len(all_kept.texts) + len(all_kept.characters) == len(
        magi.detect_objects(pages)[2].scores
    )
    assert len(none.panels) == len(none.texts) == len(none.characters) == 0
    assert len(default.panels) < len(all_kept.panels)


def test_reading_direction_reaches_the_order(magi: Magi, pages: Pages) -> None:
    (right,), (left,) = (magi.read_pages([pages[2]], reading=Reading(right_to_left=way)) for way in (True, False))
    assert sorted(right.panel_scores) == sorted(left.panel_scores)
    assert right.panels.tolist() != left.panels.tolist()


def test_no_pages(magi: Magi) -> None:
    assert magi.read_pages([]) == []


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.float32), np.zeros((8, 8, 4), np.uint8)])
def test_other_images_are_refused(magi: Magi, image: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 images HxW or HxWx3, got"):
        magi.detect_objects([image])  # type: ignore[list-item]


def test_a_fold_for_every_page(magi: Magi, pages: Pages) -> None:
    with pytest.raises(ValueError, match="one fold"):
        magi.read_pages(pages, folds=[30.0])
