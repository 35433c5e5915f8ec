"""The encoders that judge; each sees an image once. One that cannot be loaded is a state with a reason, not a crash."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffsensei.config.schema import JudgeConfig
from diffsensei.evaluation.feature_cache import Detect, Embed, Gray, cached, cached_detections
from diffsensei.evaluation.features import Fit, class_token_embedder, clip_image_embedder, embed_captions, placed
from diffsensei.evaluation.inception import INCEPTION_FILE, first_pool_embedder, inception_embedder
from diffsensei.foundations.dialog_detector import DialogDetector
from diffsensei.foundations.judge_encoders import (
    is_magi_detector,
    load_clip_processor,
    load_dialog_detector,
    load_dino_processor,
    load_judge_clip,
    load_judge_dino,
    load_state_probe,
)
from diffsensei.foundations.locations import foundation_digest
from diffsensei.foundations.magi_dialogs import MagiDialogDetector
from diffsensei.foundations.state_probe import StateProbe
from diffsensei.geometry import Boxes

NOT_ASKED = "not asked for"
NONE = "none"
NO_PROBE = "no probe of states: for a drawn world set evaluation.judges.states to embedded:judge_states"


@dataclass(frozen=True)
class ClipPair:
    """One CLIP model: panels and captions into one space."""

    panels: Embed
    captions: Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class StateReader:
    """The probe of drawn characters' states, which sees no crop twice."""

    probe: StateProbe
    logits: Embed

    def read(self, crops: Sequence[Gray]) -> list[dict[str, str]]:
        """The likeliest value of each attribute, for every crop (H, W)."""
        return [self.probe.answers(row) for row in self.logits(crops)]


@dataclass(frozen=True)
class Judges:
    """The judges that could be loaded; ``missing`` says for each of the others why not."""

    clips: tuple[ClipPair | None, ...]
    """The headline's, then the further ones, in the configuration's order."""
    dino: Embed | None
    detector: Detect | None
    """At the configured threshold."""
    distribution: Embed | None
    """Features for FID and KID."""
    first_pool: Embed | None
    """Inception's first pooling layer."""
    states: StateReader | None
    missing: dict[str, str]
    """Judge ("clip", "clip_2", ..., "dino", "detector", "characters", "distribution", "first_pool", "states") to
    reason."""
    identities: dict[str, str]
    """The same names to a digest of weights, processor and fit, for those that were loaded."""

    def only(self, names: Collection[str]) -> "Judges":
        """These judges without those that are not among ``names``: they look at nothing."""
        return self._without(dict.fromkeys(self.identities.keys() - set(names), NOT_ASKED))

    def without(self, name: str, reason: str) -> "Judges":
        """These judges without ``name``; where it was missing already, ``reason`` is given instead."""
        return self._without({name: reason})

    def _without(self, left_out: Mapping[str, str]) -> "Judges":
        return replace(
            self,
            clips=tuple(None if clip_name(i) in left_out else pair for i, pair in enumerate(self.clips)),
            dino=None if "dino" in left_out else self.dino,
            detector=None if {"detector", "characters"} & self.identities.keys() <= left_out.keys() else self.detector,
            distribution=None if "distribution" in left_out else self.distribution,
            first_pool=None if "first_pool" in left_out else self.first_pool,
            states=None if "states" in left_out else self.states,
            missing=self.missing | dict(left_out),
        )


def clip_name(index: int) -> str:
    """The name of the judge at ``index`` of `Judges.clips`."""
    return "clip" if index == 0 else f"clip_{index + 1}"


def load_judges(config: JudgeConfig, cache: Path, detection_threshold: float) -> Judges:
    """The judges of ``config``, on the GPU where there is one; what they saw is kept in the folder ``cache``.

    Dialogs are those that score at least ``detection_threshold``.
    """
    missing: dict[str, str] = {}
    identities: dict[str, str] = {}

    def attempt(name: str, field: str, load: Callable[[str], Any], reference: str) -> Any:
        try:
            judge = load(reference)
            identities[name] = _identity(reference, getattr(judge, "processor", None), config.fit)
            return judge
        except (ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            missing[name] = (
                f"encoder weights missing: {reference} could not be loaded ({reason}); set evaluation.judges.{field}"
            )
            return None

    def kept(name: str, embed: Embed) -> Embed:
        return cached(embed, cache, identities[name])

    clips: list[ClipPair | None] = []
    for index, reference in enumerate((config.clip, *config.further_clip)):
        name = clip_name(index)
        loaded = attempt(name, "further_clip" if index else "clip", load_judge_clip, reference)
        clips.append(
            None
            if loaded is None
            else ClipPair(kept(name, clip_image_embedder(loaded, config.fit)), partial(embed_captions, loaded))
        )
    dino = attempt("dino", "dino", load_judge_dino, config.dino)
    detector = attempt("detector", "dialog_detector", load_dialog_detector, config.dialog_detector)
    if isinstance(detector, torch.nn.Module):
        placed(detector)
    if isinstance(detector, MagiDialogDetector):
        identities["characters"] = identities["detector"]
    else:
        missing["characters"] = (
            "needs a detector of characters: set evaluation.judges.dialog_detector to Magi's weights"
        )
    detect = partial(_boxes_found, detector, detection_threshold)
    seen_by = f"boxes {identities.get('detector')} {detection_threshold!r}"
    distribution: Embed | None = None
    first_pool: Embed | None = None
    missing["first_pool"] = f"needs Inception: set evaluation.judges.fid_features to a file {INCEPTION_FILE}"
    if config.fid_features == config.clip:
        if clips[0] is None:
            missing["distribution"] = missing["clip"]
        else:
            distribution, identities["distribution"] = clips[0].panels, identities["clip"]
    elif config.fid_features.endswith(INCEPTION_FILE):
        embed = attempt("distribution", "fid_features", inception_embedder, config.fid_features)
        distribution = None if embed is None else kept("distribution", embed)
        missing.pop("first_pool")
        embed = attempt("first_pool", "fid_features", first_pool_embedder, config.fid_features)
        first_pool = None if embed is None else cached(embed, cache, f"first pool {identities['first_pool']}")
    else:
        other = attempt("distribution", "fid_features", load_judge_clip, config.fid_features)
        distribution = None if other is None else kept("distribution", clip_image_embedder(other, config.fit))
    if config.states == NONE:
        probe, missing["states"] = None, NO_PROBE
    else:
        probe = attempt("states", "states", load_state_probe, config.states)
    return Judges(
        clips=tuple(clips),
        dino=None if dino is None else kept("dino", class_token_embedder(dino, config.fit)),
        detector=None if detector is None else cached_detections(detect, cache, seen_by),
        distribution=distribution,
        first_pool=first_pool,
        states=None if probe is None else StateReader(placed(probe), kept("states", probe.logits)),
        missing=missing,
        identities=identities,
    )


def identify_judges(config: JudgeConfig) -> dict[str, str]:
    """`Judges.identities` as `load_judges` finds them where every judge can be loaded, without reading weights."""
    identities: dict[str, str] = {}

    def note(name: str, reference: str, load_processor: Callable[[str], Any] | None = None) -> None:
        with suppress(ValueError, OSError):
            processor = None if load_processor is None else load_processor(reference)
            identities[name] = _identity(reference, processor, config.fit)

    for index, reference in enumerate((config.clip, *config.further_clip)):
        note(clip_name(index), reference, load_clip_processor)
    note("dino", config.dino, load_dino_processor)
    with suppress(ValueError, OSError):
        if is_magi_detector(config.dialog_detector):
            note("characters", config.dialog_detector)
        note("detector", config.dialog_detector)
    if config.fid_features.endswith(INCEPTION_FILE):
        note("distribution", config.fid_features)
        note("first_pool", config.fid_features)
    else:
        note("distribution", config.fid_features, load_clip_processor)
    if config.states != NONE:
        note("states", config.states)
    return identities


def distribution_name(config: JudgeConfig) -> str:
    """What the features for FID and its kin are, in words."""
    if config.fid_features.endswith(INCEPTION_FILE):
        return "Inception v3 pool3 (2048), clean-fid resizing"
    return f"CLIP image embedding of {config.fid_features}, fit {config.fit}"


def _identity(reference: str, processor: Any, fit: Fit) -> str:
    """Weights by content (by name on the hub), the processor's settings and the fit: what decides a judge's view."""
    settings = "" if processor is None else processor.to_json_string()
    return hashlib.sha256(f"{foundation_digest([reference])}\n{settings}\n{fit}".encode()).hexdigest()


def _boxes_found(detector: DialogDetector, threshold: float, images: list[Gray]) -> list[tuple[Boxes, Boxes | None]]:
    """Dialogs in each image, and characters where the detector is Magi, which finds both in one pass."""
    if isinstance(detector, MagiDialogDetector):
        both = detector.detect_with_characters(images, threshold)
        return [(dialogs.boxes_xyxy, characters) for dialogs, characters in both]
    return [(found.boxes_xyxy, None) for found in detector.detect(images, threshold)]
