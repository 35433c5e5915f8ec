"""Magi's texts as the judge of dialogs."""

import numpy as np
import pytest
from numpy.typing import NDArray

from diffsensei.foundations.judge_encoders import load_dialog_detector
from diffsensei.foundations.magi_dialogs import MagiDialogDetector
from diffsensei.geometry import pairwise_iou
from tests.magi.tiny_magi import write_tiny_magi

Images = list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> MagiDialogDetector:
    loaded = load_dialog_detector(str(write_tiny_magi(tmp_path_factory.mktemp("magi"))))
    assert isinstance(loaded, MagiDialogDetector)
    return loaded


@pytest.fixture(scope="module")
def images() -> Images:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((90, 60, 3), (50, 70), (90, 60))]


def test_detections_are_magis_texts_inside_the_image_by_falling_score(
    judge: MagiDialogDetector, images: Images
) -> None:
    found = judge.detect(images, 0.25)
    assert sum(len(each.scores) for each in found) > 0
    for image, each, page in zip(images, found, judge.magi.read_pages(images), strict=True):
        height, width = image.shape[:2]
        assert each.boxes_xyxy.dtype == each.scores.dtype == np.float32
        assert each.boxes_xyxy.shape == (len(each.scores), 4)
        assert (each.boxes_xyxy >= 0).all()
        assert (each.boxes_xyxy <= [width, height, width, height]).all()
        assert (np.diff(each.scores) <= 0).all()
        order = np.argsort(-page.text_scores, kind="stable")
        np.testing.assert_allclose(each.boxes_xyxy, page.texts[order], atol=1e-4)
        np.testing.assert_allclose(each.scores, page.text_scores[order], atol=1e-6)


def test_threshold_is_the_least_score_that_counts(judge: MagiDialogDetector, images: Images) -> None:
    (objects,) = judge.magi.detect_objects(images[2:])
    texts = np.sort(objects.scores[objects.labels == 1])
    assert len(texts) > 1
    (everything,), (best,), (nothing,) = (judge.detect(images[2:], cut) for cut in (0.0, texts[-1], 1.0))
    assert len(everything.scores) > len(best.scores) == 1
    assert best.scores[0] == np.float32(texts[-1])
    assert nothing.boxes_xyxy.shape == (0, 4)
    overlaps = pairwise_iou(everything.boxes_xyxy, everything.boxes_xyxy)
    assert (overlaps[~np.eye(len(overlaps), dtype=bool)] <= 0.5 + 0.05).all()


def test_no_images(judge: MagiDialogDetector) -> None:
    assert judge.detect([], 0.25) == []


def test_weights_of_a_judge_are_frozen(judge: MagiDialogDetector) -> None:
    assert not judge.training
    assert not any(parameter.requires_grad for parameter in judge.parameters())
