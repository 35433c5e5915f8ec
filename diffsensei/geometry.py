"""Boxes, always xyxy with x to the right and y down: page pixels on disk, relative to the panel in the model."""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


def to_relative(boxes: Boxes, frame: Boxes) -> Boxes:
    """Page-pixel ``boxes`` (..., 4) relative to ``frame`` (4,): 0..1 inside it, not clamped outside.

    Raises ValueError for a frame without area.
    """
    x1, y1, x2, y2 = (float(v) for v in frame)
    if x2 <= x1 or y2 <= y1:
        raise ValueError(f"frame {[x1, y1, x2, y2]} has no area")
    origin = np.array([x1, y1, x1, y1])
    extent = np.array([x2 - x1, y2 - y1] * 2)
    return (np.asarray(boxes, dtype=np.float64) - origin) / extent


def area(boxes: Boxes) -> NDArray[np.floating]:
    """Areas (...,) of ``boxes`` (..., 4); inverted boxes have area 0."""
    boxes = np.asarray(boxes, dtype=np.float64)
    width = np.clip(boxes[..., 2] - boxes[..., 0], 0, None)
    height = np.clip(boxes[..., 3] - boxes[..., 1], 0, None)
    return width * height


def intersection(a: Boxes, b: Boxes) -> NDArray[np.floating]:
    """Areas common to ``a`` and ``b``, broadcast over leading axes."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    return area(np.concatenate([low, high], axis=-1))


def pairwise_iou(a: Boxes, b: Boxes) -> NDArray[np.floating]:
    """Intersection over union of every box in ``a`` (n, 4) with every box in ``b`` (m, 4): (n, m) in [0, 1]."""
    a, b = np.asarray(a, dtype=np.float64).reshape(-1, 4), np.asarray(b, dtype=np.float64).reshape(-1, 4)
    common = intersection(a[:, None], b[None])
    union = area(a)[:, None] + area(b)[None] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def suppress_overlaps(boxes: Boxes, scores: NDArray[np.floating], max_iou: float) -> NDArray[np.intp]:
    """Indices of the ``boxes`` (n, 4) to keep, by falling score: of two that overlap more, the lower scoring one goes.

    Equal scores keep their order.
    """
    overlaps = pairwise_iou(boxes, boxes) > max_iou
    kept: list[int] = []
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        if not overlaps[index, kept].any():
            kept.append(int(index))
    return np.array(kept, dtype=np.intp)


def cover_crop(boxes: Boxes, height: int, width: int, target_height: int, target_width: int) -> Boxes:
    """Relative ``boxes`` (..., 4) of a panel after it was resized to cover a target size and cropped at its centre.

    The reference code leaves boxes uncorrected for that crop; here they follow the pixels. Not clamped.
    """
    new_height, new_width = cover_size(height, width, target_height, target_width)
    top, left = (new_height - target_height) // 2, (new_width - target_width) // 2
    boxes = np.asarray(boxes, dtype=np.float64)
    scale = np.array([new_width, new_height] * 2)
    shift = np.array([left, top] * 2)
    return (boxes * scale - shift) / np.array([target_width, target_height] * 2)


def cover_size(height: int, width: int, target_height: int, target_width: int) -> tuple[int, int]:
    """(height, width) of the smallest resize with the same aspect that covers the target (reference code)."""
    if height * target_width >= target_height * width:
        return max(height * target_width // width, target_height), target_width
    return target_height, max(width * target_height // height, target_width)


def pixel_box(box: Boxes, height: int, width: int) -> tuple[int, int, int, int]:
    """A relative ``box`` (4,) as half-open pixel bounds: truncated, clamped to the image (may be empty)."""
    x1, y1, x2, y2 = (float(v) for v in box)
    return (
        min(max(int(x1 * width), 0), width),
        min(max(int(y1 * height), 0), height),
        min(max(int(x2 * width), 0), width),
        min(max(int(y2 * height), 0), height),
    )
