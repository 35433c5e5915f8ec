"""The heads against numpy on the stored weights, written without a look at the network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

from diffsensei.magi.magi import Magi
from diffsensei.magi.network import MagiNetwork, PredictionHead
from tests.magi.tiny_magi import CROP_WIDTH, NUM_OBJECTS, STATE, WIDTH

Weights = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def weights(magi_folder: Path) -> Weights:
    return load_file(magi_folder / STATE)


def sigmoid(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return 1 / (1 + np.exp(-x))


def mlp(weights: Weights, name: str, x: NDArray[np.floating]) -> NDArray[np.floating]:
    for layer in range(3):
        x = x @ weights[f"{name}.layers.{layer}.weight"].T + weights[f"{name}.layers.{layer}.bias"]
        x = np.maximum(x, 0) if layer < 2 else x
    return x


def hidden_states(magi: Magi, page: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(num_queries, WIDTH) of the library's detector for a grey version of the page."""
    grey = np.asarray(Image.fromarray(page).convert("L"))
    inputs = magi.page_processor(images=[np.stack([grey] * 3, axis=-1)], return_tensors="pt")
    with torch.no_grad():
        return magi.network.detection_transformer(**inputs).last_hidden_state[0].numpy()


def test_reference_points_come_queries_first_from_the_installed_library(magi: Magi, weights: Weights) -> None:
    detector = magi.network.detection_transformer
    with torch.no_grad():
        found = detector(torch.rand(2, 3, 64, 96)).reference_points
    assert found.shape == (NUM_OBJECTS + 5, 2, 2)
    prefix = "detection_transformer."
    queries = weights[f"{prefix}query_position_embeddings.weight"]
    for layer in (0, 1):
        name = f"{prefix}decoder.ref_point_head.layers.{layer}"
        queries = np.maximum(queries, 0) if layer else queries
        queries = queries @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    np.testing.assert_allclose(found[:, 0], sigmoid(queries), atol=1e-5)
    np.testing.assert_allclose(found[:, 1], sigmoid(queries), atol=1e-5)


def test_scores_labels_and_boxes_by_hand(magi: Magi, weights: Weights, pages: list[NDArray[np.uint8]]) -> None:
    for page, found in zip(pages, magi.detect_objects(pages), strict=True):
        objects = hidden_states(magi, page)[:-5]
        logits = objects @ weights["class_labels_classifier.weight"].T + weights["class_labels_classifier.bias"]
        np.testing.assert_array_equal(found.labels, logits.argmax(axis=1))
        np.testing.assert_allclose(found.scores, sigmoid(logits.max(axis=1)), atol=1e-5)
        with torch.no_grad():
            output = magi.network.detection_transformer(torch.zeros(1, 3, 64, 64))
        reference = output.reference_points[:-5, 0].double().numpy()
        raw = mlp(weights, "bbox_predictor", objects).astype(np.float64)
        raw[:, :2] += np.log(reference / (1 - reference))
        x, y, w, h = sigmoid(raw).T
        height, width = page.shape[:2]
        expected = np.stack([(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height], 1)
        np.testing.assert_allclose(found.boxes, expected, atol=1e-2)


def test_relation_tokens_are_the_fifth_and_fourth_last(magi: Magi, pages: list[NDArray[np.uint8]]) -> None:
    (found,) = magi.detect_objects(pages[:1])
    states = hidden_states(magi, pages[0])
    assert len(found.tokens) == len(states) - 5 == NUM_OBJECTS
    np.testing.assert_allclose(found.character_pair, states[-5], atol=1e-4)
    np.testing.assert_allclose(found.text_character, states[-4], atol=1e-4)


def test_pairs_by_hand(magi: Magi, weights: Weights) -> None:
    rng = np.random.default_rng(3)
    objects, crops = rng.normal(size=(4, WIDTH)), rng.normal(size=(4, CROP_WIDTH))
    texts, token = rng.normal(size=(3, WIDTH)), rng.normal(size=WIDTH)
    as_tensor = lambda array: torch.from_numpy(array).float()  # noqa: E731
    network = magi.network
    with torch.no_grad():
        same = network.predict_character_pairs(as_tensor(objects), as_tensor(crops), as_tensor(token)).numpy()
        said = network.predict_text_characters(as_tensor(texts), as_tensor(objects), as_tensor(token)).numpy()
        dialogs = network.predict_dialogs(as_tensor(texts)).numpy()
    assert same.shape == (4, 4)
    assert said.shape == (3, 4)
    for i in range(4):
        for j in range(4):
            features = np.concatenate([objects[i], crops[i], objects[j], crops[j], token])
            assert same[i, j] == pytest.approx(mlp(weights, "character_character_matching_head", features)[0], abs=1e-4)
        for t in range(3):
            features = np.concatenate([texts[t], objects[i], token])
            assert said[t, i] == pytest.approx(mlp(weights, "text_character_matching_head", features)[0], abs=1e-4)
    np.testing.assert_allclose(dialogs, mlp(weights, "is_this_text_a_dialogue", texts)[:, 0], atol=1e-4)
    assert np.abs(same - same.T).max() > 1e-3


def test_pairs_of_nothing(magi: Magi) -> None:
    none, crops = torch.zeros(0, WIDTH), torch.zeros(0, CROP_WIDTH)
    assert magi.network.predict_character_pairs(none, crops, torch.zeros(WIDTH)).shape == (0, 0)
    assert magi.network.predict_text_characters(torch.zeros(2, WIDTH), none, torch.zeros(WIDTH)).shape == (2, 0)


def test_a_head_wants_parts_of_its_own_width() -> None:
    with pytest.raises(RuntimeError, match="split_with_sizes"):
        PredictionHead(4, 3, 1)(torch.zeros(2, 3))


def test_attribute_names_are_the_checkpoints(magi: Magi) -> None:
    assert {name for name, _ in magi.network.named_children()} == {
        "detection_transformer",
        "class_labels_classifier",
        "bbox_predictor",
        "character_character_matching_head",
        "text_character_matching_head",
        "is_this_text_a_dialogue",
        "crop_embedding_model",
    }


def test_five_queries_are_too_few(magi: Magi) -> None:
    network = magi.network
    network.detection_transformer.config.num_queries = 5
    try:
        with pytest.raises(ValueError, match="expected more than 5 queries, got num_queries 5"):
            MagiNetwork(network.detection_transformer, network.crop_embedding_model)
    finally:
        network.detection_transformer.config.num_queries = NUM_OBJECTS + 5
