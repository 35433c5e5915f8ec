import numpy as np
import pytest
import torch

from diffsensei.foundations.detector import _targets, visible_boxes
from diffsensei.foundations.dialog_detector import STRIDE, HeatmapDetector
from diffsensei.geometry import pairwise_iou


@pytest.fixture
def detector() -> HeatmapDetector:
    torch.manual_seed(0)
    return HeatmapDetector([8, 8, 16, 16]).eval()


def test_forward_gives_one_score_and_box_per_cell(detector: HeatmapDetector) -> None:
    logits, boxes = detector(torch.rand(2, 1, 32, 48))
    assert logits.shape == (2, 8, 12)
    assert boxes.shape == (2, 4, 8, 12)
    x = (torch.arange(12) + 0.5) * STRIDE
    assert (boxes[:, 0] <= x).all()
    assert (boxes[:, 2] >= x).all()


def test_any_size_and_colour_and_boxes_stay_inside(detector: HeatmapDetector) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape).astype(np.uint8) for shape in ((33, 128), (97, 41), (64, 64, 3))]
    for image, found in zip(images, detector.detect(images, 0.0), strict=True):
        height, width = image.shape[:2]
        assert len(found.scores) == len(found.boxes_xyxy) > 0
        assert found.boxes_xyxy.dtype == np.float32
        assert found.boxes_xyxy.min() >= 0
        assert (found.boxes_xyxy <= [width, height, width, height]).all()
        assert (np.diff(found.scores) <= 0).all()


def test_grey_equals_replicated_colour(detector: HeatmapDetector) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (48, 48)).astype(np.uint8)
    one, three = detector.detect([grey, np.repeat(grey[:, :, None], 3, axis=2)], 0.0)
    np.testing.assert_allclose(one.boxes_xyxy, three.boxes_xyxy, atol=1e-4)


def test_threshold_drops_the_lower_scores(detector: HeatmapDetector) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (64, 64)).astype(np.uint8)
    (everything,) = detector.detect([grey], 0.0)
    cut = float(np.median(everything.scores))
    (some,) = detector.detect([grey], cut)
    assert 0 < len(some.scores) < len(everything.scores)
    assert some.scores.min() >= cut


def test_overlapping_boxes_are_suppressed(detector: HeatmapDetector) -> None:
    grey = np.random.default_rng(2).integers(0, 256, (64, 64)).astype(np.uint8)
    (found,) = detector.detect([grey], 0.0)
    ious = pairwise_iou(found.boxes_xyxy, found.boxes_xyxy)
    assert (ious[~np.eye(len(ious), dtype=bool)] <= detector.nms_iou + 1e-6).all()


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.float32), np.zeros((8, 8, 4), np.uint8)])
def test_other_images_are_refused(detector: HeatmapDetector, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8 images HxW or HxWx3"):
        detector.detect([image], 0.5)


def test_targets_peak_at_the_cell_nearest_the_centre() -> None:
    heat, target, inside = _targets([np.array([[8.0, 4.0, 25.0, 16.0]])], 8, 12)
    # Centre (16.5, 10): column 16.5 / 4 = 4.1 -> cell 4 (centre 18), or 3 (14); row 10 / 4 = 2.5 -> cell 2.
    assert (heat[0] == 1).nonzero().tolist() == [[2, 4]]
    assert inside[0, 2, 4]
    assert target[0, :, 2, 4].tolist() == [8.0, 4.0, 25.0, 16.0]


def test_bubbles_mostly_outside_are_not_asked_for() -> None:
    boxes = np.array([[-10.0, 0.0, 10.0, 10.0], [-18.0, 0.0, 2.0, 10.0]])
    np.testing.assert_array_equal(visible_boxes(boxes, 32, 32), [[0.0, 0.0, 10.0, 10.0]])
