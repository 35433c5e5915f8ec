"""Dialog F1 (paper, section 5.1): do speech bubbles stand where they were asked for?

A detector finds dialog boxes on the generated panel. Detected and requested boxes are matched one to one (Hungarian),
as many pairs as possible with IoU at or above the threshold and, among those, the greatest total IoU. Matched pairs
are tp, unmatched detections fp, unmatched requests fn; counts are added over all panels before
F1 = 2 tp / (2 tp + fp + fn). Adding first (micro) matters: with "both empty = 1" per panel, a method that never draws
a bubble would be paid for every panel without one.
The paper names the detector (Magi) but not the threshold or the average; 0.5 and micro are our choice. Beside it stand
the F1 at other thresholds and the mean over 0.5, 0.55, ..., 0.95 (as COCO does for its averages).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
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
DIALOG_F1_MEAN = MetricDefinition(
    name="dialog_f1_mean",
    label="Dialog F1, 0.5:0.95",
    definition="mean over ten IoU thresholds, 0.5 to 0.95, of the micro F1 of detected against requested dialog boxes",
    unit="share, 0 to 1",
    higher_is_better=True,
    source="ours, after COCO's thresholds",
    group="variant",
)
COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
NOTHING_TO_FIND = "no dialog requested, none found"


@dataclass(frozen=True)
class Matches:
    tp: int
    fp: int
    fn: int


def match_boxes(found: Boxes, wanted: Boxes, iou_threshold: float) -> Matches:
    """Count matches between boxes (n, 4) and (m, 4) in one coordinate system; either may be empty."""
    return match_at(overlaps(found, wanted), iou_threshold)


def overlaps(found: Boxes, wanted: Boxes) -> NDArray[np.floating]:
    """IoU (n, m) of boxes (n, 4) and (m, 4); either may be empty."""
    found, wanted = np.asarray(found).reshape(-1, 4), np.asarray(wanted).reshape(-1, 4)
    return pairwise_iou(found, wanted) if len(found) and len(wanted) else np.zeros((len(found), len(wanted)))


def match_at(iou: NDArray[np.floating], iou_threshold: float) -> Matches:
    """Count matches from the `overlaps` (n, m) of found and wanted boxes."""
    enough = (iou >= iou_threshold) & (iou > 0)
    if not enough.any():
        return Matches(0, *iou.shape)
    # One more pair always outweighs any gain in overlap: IoUs add up to less than the larger side.
    gain = enough * (max(iou.shape) + iou)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    tp = int(enough[rows, columns].sum())
    return Matches(tp, iou.shape[0] - tp, iou.shape[1] - tp)


def rows_at(iou_threshold: float) -> str:
    """The name of the item rows of one threshold beside the headline's."""
    return f"{DIALOG_F1.name}_at_{iou_threshold:.2f}"


def dialog_f1_at(iou_threshold: float) -> MetricDefinition:
    """The F1 at one more threshold."""
    return DIALOG_F1.replaced(
        name=rows_at(iou_threshold),
        label=f"Dialog F1, IoU {iou_threshold:g}",
        definition=f"{DIALOG_F1.definition} {iou_threshold:g}",
        source="ours",
        group="variant",
    )
