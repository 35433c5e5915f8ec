"""Dialog F1 (paper, section 5.1): do speech bubbles stand where they were asked for?

A detector finds dialog boxes on the generated panel. Detected and requested boxes are matched one to one (Hungarian),
as many pairs as possible with IoU at or above the threshold and, among those, the greatest total IoU. Matched pairs
are tp, unmatched detections fp, unmatched requests fn; counts are added over all panels before
F1 = 2 tp / (2 tp + fp + fn). Adding first (micro) matters: with "both empty = 1" per panel, a method that never draws
a bubble would be paid for every panel without one.
The paper names the detector (Magi) but not the threshold or the average; 0.5 and micro are our choice.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from diffsensei.evaluation.results import MetricDefinition
from diffsensei.geometry import Boxes, pairwise_iou

DIALOG_F1 = MetricDefinition(
    name="dialog_f1",
    label="Dialog F1",
    definition="micro F1 of detected against requested dialog boxes, one-to-one at the IoU threshold",
    unit="share, 0 to 1",
    higher_is_better=True,
    source="paper, section 5.1; threshold and averaging are ours",
)
NOTHING_TO_FIND = "no dialog requested, none found"


@dataclass(frozen=True)
class Matches:
    tp: int
    fp: int
    fn: int


def match_boxes(found: Boxes, wanted: Boxes, iou_threshold: float) -> Matches:
    """Count matches between boxes (n, 4) and (m, 4) in one coordinate system; either may be empty."""
    found, wanted = np.asarray(found).reshape(-1, 4), np.asarray(wanted).reshape(-1, 4)
    if not len(found) or not len(wanted):
        return Matches(0, len(found), len(wanted))
    iou = pairwise_iou(found, wanted)
    enough = (iou >= iou_threshold) & (iou > 0)
    # One more pair always outweighs any gain in overlap: IoUs add up to less than the larger side.
    gain = enough * (max(iou.shape) + iou)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    tp = int(enough[rows, columns].sum())
    return Matches(tp, len(found) - tp, len(wanted) - tp)
