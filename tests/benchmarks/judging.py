"""What judges see in panels: every picture decoded once and shown to all, against one tool after another.

One after another is how the metrics are had from tools of their own (clean-fid, CLIP score, DINO, a detector): each
reads every file, and those that share an encoder run it again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch

# isort: split

import numpy as np

from diffsensei.config.presets import tiny
from diffsensei.config.schema import EvaluationConfig
from diffsensei.data.images import encode_png
from diffsensei.evaluation.benchmark import BenchmarkPanel
from diffsensei.evaluation.feature_cache import Detect, Embed, cached, cached_detections
from diffsensei.evaluation.features import class_token_embedder, clip_image_embedder, embed_captions
from diffsensei.evaluation.judges import ClipPair, Judges
from diffsensei.evaluation.sight import PanelFeatures, Picture, read_picture, see_panels
from diffsensei.foundations.judge_encoders import load_dialog_detector, load_judge_clip, load_judge_dino
from diffsensei.progress import Progress
from tests.benchmarks import pages
from tests.benchmarks.interleaved import Case
from tests.benchmarks.scoring import benchmark_panel

COUNT = 24
TOOLS = ("clip", "dino", "detector", "distribution")


@dataclass(frozen=True)
class Gallery:
    """Panels in files, and the judges' networks, loaded."""

    root: Path
    panels: Sequence[BenchmarkPanel]
    evaluation: EvaluationConfig
    clip: Embed
    captions: Callable[[Sequence[str]], np.ndarray]
    dino: Embed
    detect: Detect


def cases() -> Iterator[Case]:
    gallery = _gallery()
    yield Case(
        name=f"{COUNT} panels seen by CLIP, DINO, detector and FID's encoder: together, or one after another",
        check=partial(_check, gallery),
        plain=partial(_one_after_another, gallery),
        ours=partial(_together, gallery),
        goal=0.0,
    )


def _gallery() -> Gallery:
    panel_set, root = pages.panel_set(), Path(pages.drawn_pages()[1].parent) / "judged"
    root.mkdir(exist_ok=True)
    panels = []
    for index in range(COUNT):
        image = panel_set.panel_image(index)
        panel = benchmark_panel(index).replaced(height=image.shape[0], width=image.shape[1])
        (root / f"{panel.panel_id}.png").write_bytes(encode_png(image))
        panels.append(panel)
    evaluation = tiny().evaluation
    judges = evaluation.judges
    clip, detector = load_judge_clip(judges.clip), load_dialog_detector(judges.dialog_detector)
    return Gallery(
        root,
        panels,
        evaluation,
        clip_image_embedder(clip, judges.fit),
        partial(embed_captions, clip),
        class_token_embedder(load_judge_dino(judges.dino), judges.fit),
        lambda images: [(found.boxes_xyxy, None) for found in detector.detect(images, evaluation.detection_threshold)],
    )


def _judges(gallery: Gallery, folder: Path) -> Judges:
    """That have seen nothing yet; FID's encoder is the judging CLIP, as in the tiny preset."""
    clip = cached(gallery.clip, folder, "clip")
    return Judges(
        clips=(ClipPair(clip, gallery.captions),),
        dino=cached(gallery.dino, folder, "dino"),
        detector=cached_detections(gallery.detect, folder, "detector"),
        distribution=clip,
        first_pool=None,
        states=None,
        missing={},
        identities=dict.fromkeys(TOOLS, ""),
    )


def _seen(gallery: Gallery, tools: Sequence[str]) -> PanelFeatures:
    def read(panel: BenchmarkPanel) -> Picture:
        return read_picture(gallery.root / f"{panel.panel_id}.png")

    with TemporaryDirectory(dir=gallery.root) as folder:
        judges = _judges(gallery, Path(folder)).only(tools)
        progress = Progress(Path(folder) / "progress.json", "seeing", len(gallery.panels))
        return see_panels(gallery.panels, read, judges, gallery.evaluation, progress)


def _together(gallery: Gallery) -> dict[str, PanelFeatures]:
    return dict.fromkeys(TOOLS, _seen(gallery, TOOLS))


def _one_after_another(gallery: Gallery) -> dict[str, PanelFeatures]:
    return {tool: _seen(gallery, [tool]) for tool in TOOLS}


def _check(gallery: Gallery) -> None:
    plain, ours = _one_after_another(gallery), _together(gallery)
    for tool in TOOLS:
        for alone, shared in zip(_features(plain[tool], tool), _features(ours[tool], tool), strict=True):
            assert alone is not None
            assert shared is not None
            np.testing.assert_array_equal(alone, shared)


def _features(seen: PanelFeatures, tool: str) -> Sequence[np.ndarray | None]:
    found = {"clip": seen.clips[0], "dino": seen.dino, "detector": seen.dialogs, "distribution": seen.distribution}
    return found[tool]
