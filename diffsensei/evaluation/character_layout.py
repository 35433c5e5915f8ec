"""Character layout: do characters stand where, and in the number, they were asked for?

Needs a detector of characters: Magi. Found and asked boxes are paired one to one for the greatest total IoU
(Hungarian); each asked character has the IoU of its pair, 0 where it has none. The count is right where exactly as
many are found as asked.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from diffsensei.evaluation.results import MetricDefinition
from diffsensei.geometry import Boxes, pairwise_iou

LAYOUT_IOU = MetricDefinition(
    name="layout_iou",
    label="Layout IoU",
    definition="IoU of the asked character box with the detected one paired with it (one-to-one), 0 without, mean over "
    "characters",
    unit="share, 0 to 1",
    higher_is_better=True,
    source="ours; detector: Magi",
    group="manga",
)
CHARACTER_COUNT = MetricDefinition(
    name="character_count",
    label="Character count",
    definition="share of panels with exactly as many detected characters as were asked for",
    unit="share, 0 to 1",
    higher_is_better=True,
    source="ours, after ViStoryBench's on-stage character count; detector: Magi",
    group="manga",
)


def paired_iou(found: Boxes, wanted: Boxes) -> NDArray[np.float64]:
    """IoU (m,) of each wanted box (m, 4) with the found box (n, 4) paired with it; 0 without one."""
    found, wanted = np.asarray(found).reshape(-1, 4), np.asarray(wanted).reshape(-1, 4)
    paired = np.zeros(len(wanted))
    if len(found) and len(wanted):
        iou = pairwise_iou(found, wanted)
        rows, columns = linear_sum_assignment(iou, maximize=True)
        paired[columns] = iou[rows, columns]
    return paired
