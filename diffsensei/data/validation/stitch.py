"""Two halves to one double page: left is url1, right is url2, top aligned on black (reference download script).

Annotated boxes count pixels of halves that are ``width1`` and ``width2`` wide. The reference ignores a half of another
width, and its boxes shift silently; here such a page is rescaled when it is plainly the same scan, else quarantined.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pydantic import TypeAdapter, ValidationError

from diffsensei.data.images import Gray, decode_image, difference_hash, encode_png
from diffsensei.data.refusal import Refusal
from diffsensei.data.sandbox import Limits, Sandbox, shared_sandbox
from diffsensei.durable import write_whole

KNOWN_RATIOS = (1 / 2, 2 / 3, 3 / 4, 4 / 3, 3 / 2, 2.0)
"""Decoded over annotated width of re-uploads and data-saver copies; any other ratio may be another picture."""
RATIO_TOLERANCE = 0.01
LIMITS = Limits()
PASSING = frozenset({"lost_object", "decoder_died", "decoder_timeout", "decoder_out_of_memory"})
"""Reasons that may be the machine's fault rather than the page's: another attempt tries such pages again."""


@dataclass(frozen=True)
class StitchTask:
    """A page to stitch: image files from left to right, annotated widths, the lowest annotated edge in pixels.

    ``panels`` are boxes (xyxy pixels, as annotated) whose pictures are hashed.
    """

    page_id: str
    halves: tuple[Path, ...]
    widths: tuple[int, ...]
    lowest_edge: float
    panels: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Stitched:
    """The outcome: a page of (height, width) pixels, or a ``reason`` with its evidence.

    ``image_sha256`` is that of the stored PNG; ``dhash`` is 16 hex digits, empty for a near-blank page;
    ``rescaled`` tells that pixels were resampled to the annotated width. ``panel_dhashes`` are as ``dhash``, one for
    each panel, empty also where its box holds no pixels.
    """

    page_id: str
    height: int = 0
    width: int = 0
    image_sha256: str = ""
    dhash: str = ""
    chroma: float = 0.0
    rescaled: bool = False
    panel_dhashes: tuple[str, ...] = ()
    reason: str = ""
    evidence: str = ""


_OUTCOMES = TypeAdapter(list[Stitched])


def stitch_batch(
    tasks: Sequence[StitchTask], folder: Path, max_megapixels: float, limits: Limits = LIMITS
) -> list[Stitched]:
    """Stitch every task into ``folder/<page_id>.png``. A page that fails is reported in its outcome, never raised.

    The work is a child's under ``limits``: strangers' files may crash or hang it. A batch that an earlier attempt
    finished in ``folder`` is not stitched again.
    """
    call = f"{max_megapixels!r} {tasks!r}".encode()
    record = folder / f"{hashlib.sha256(call).hexdigest()[:32]}.json"
    outcomes = _recorded(record, folder)
    if outcomes is None:
        sandbox = shared_sandbox(limits)
        outcomes = [_stitch_safely(sandbox, task, folder, max_megapixels) for task in tasks]
        if not any(outcome.reason in PASSING for outcome in outcomes):
            write_whole(record, _OUTCOMES.dump_json(outcomes))
    return outcomes


def _recorded(record: Path, folder: Path) -> list[Stitched] | None:
    """What ``record`` says, if all its pages still have the bytes that it says: they were not flushed to disk."""
    try:
        outcomes = _OUTCOMES.validate_json(record.read_bytes())
        for outcome in outcomes:
            if not outcome.reason:
                data = (folder / f"{outcome.page_id}.png").read_bytes()
                if hashlib.sha256(data).hexdigest() != outcome.image_sha256:
                    return None
    except (OSError, ValidationError):
        return None
    return outcomes


def _stitch_safely(sandbox: Sandbox, task: StitchTask, folder: Path, max_megapixels: float) -> Stitched:
    try:
        return sandbox.run(_stitch_file, task, folder, max_megapixels)
    except Refusal as refusal:
        return Stitched(task.page_id, reason=refusal.reason, evidence=refusal.evidence)


def _stitch_file(task: StitchTask, folder: Path, max_megapixels: float) -> Stitched:
    try:
        images = [decode_image(_read(path), max_megapixels=max_megapixels) for path in task.halves]
        halves = [image.gray for image in images]
        fitted = fit_widths(halves, task.widths, lowest_edge=task.lowest_edge)
    except Refusal as refusal:
        return Stitched(task.page_id, reason=refusal.reason, evidence=refusal.evidence)
    page = stitch(*fitted)
    data = encode_png(page)
    (folder / f"{task.page_id}.png").write_bytes(data)
    return Stitched(
        page_id=task.page_id,
        height=page.shape[0],
        width=page.shape[1],
        image_sha256=hashlib.sha256(data).hexdigest(),
        dhash=_hash_text(page),
        chroma=max(image.chroma for image in images),
        rescaled=any(new is not old for new, old in zip(fitted, halves, strict=True)),
        panel_dhashes=tuple(_panel_hash(page, box) for box in task.panels),
    )


def _hash_text(picture: Gray) -> str:
    dhash = difference_hash(picture)
    return "" if dhash is None else f"{dhash:016x}"


def _panel_hash(page: Gray, box: Sequence[float]) -> str:
    if not np.isfinite(box).all():
        return ""
    height, width = page.shape
    x1, x2 = np.clip(np.rint([box[0], box[2]]), 0, width).astype(int)
    y1, y2 = np.clip(np.rint([box[1], box[3]]), 0, height).astype(int)
    return _hash_text(page[y1:y2, x1:x2]) if x1 < x2 and y1 < y2 else ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refusal("lost_object", f"{path.name[:16]}: {error.strerror}") from None


def stitch(*halves: Gray) -> Gray:
    """The page (max H, sum of W): ``halves`` side by side from the left, top aligned, black below the shorter ones."""
    height = max(half.shape[0] for half in halves)
    return np.hstack([np.pad(half, ((0, height - half.shape[0]), (0, 0))) for half in halves])


def fit_widths(halves: Sequence[Gray], widths: Sequence[int], *, lowest_edge: float) -> list[Gray]:
    """``halves`` at their annotated ``widths``, untouched where they have them already.

    Raises `Refusal` ``geometry_mismatch`` when a half's width is off by no `KNOWN_RATIOS`, or when the page at the
    annotated widths would end above ``lowest_edge``: then it is a picture of another shape.
    """
    evidence = "annotated widths {}, decoded {}".format(
        "+".join(map(str, widths)), "+".join(f"{half.shape[1]}x{half.shape[0]}" for half in halves)
    )
    fitted = []
    for half, width in zip(halves, widths, strict=True):
        height, decoded = half.shape
        if decoded == width:
            fitted.append(half)
            continue
        if width <= 0 or not any(abs(decoded / width / ratio - 1) <= RATIO_TOLERANCE for ratio in KNOWN_RATIOS):
            raise Refusal("geometry_mismatch", evidence)
        method = cv2.INTER_AREA if decoded > width else cv2.INTER_CUBIC
        fitted.append(
            np.asarray(cv2.resize(half, (width, max(1, round(height * width / decoded))), interpolation=method))
        )
    rescaled = any(new is not old for new, old in zip(fitted, halves, strict=True))
    if rescaled and lowest_edge > max(half.shape[0] for half in fitted) * (1 + RATIO_TOLERANCE):
        raise Refusal("geometry_mismatch", f"{evidence}, boxes reach y={lowest_edge:g}")
    return fitted
