"""The encoders that judge, and one pass of each over a list of panels.

Every image is decoded once and handed to all judges. A square encoder meets a panel in one of three ways (``fit``):
its own processor's (short side to size, centre crop: up to three quarters of a 4:1 panel go unseen), padded to a
square with white, or squashed to a square. Judges that cannot be loaded are a state with a reason, not a crash.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from diffsensei.config.schema import JudgeConfig
from diffsensei.devices import own_device
from diffsensei.evaluation.feature_cache import Detect, Embed, Gray, cached, cached_detections
from diffsensei.foundations.dialog_detector import DialogDetector
from diffsensei.foundations.judge_encoders import (
    JudgeClip,
    is_magi_detector,
    load_clip_processor,
    load_dialog_detector,
    load_dino_processor,
    load_judge_clip,
    load_judge_dino,
    load_state_probe,
)
from diffsensei.foundations.loading import ImageEncoder
from diffsensei.foundations.locations import foundation_digest
from diffsensei.foundations.magi_dialogs import MagiDialogDetector
from diffsensei.foundations.state_probe import StateProbe
from diffsensei.geometry import Boxes

Fit = Literal["processor", "pad", "squash"]

BATCH_SIZE = 64
WHITE = 255
NOT_ASKED = "not asked for"
NONE = "none"
NO_PROBE = "no probe of states: for a drawn world set evaluation.judges.states to embedded:judge_states"
INCEPTION_FILE = "inception-2015-12-05.pt"
INCEPTION_EDGE = 299
FIRST_POOL = ("conv", "conv_1", "conv_2", "pool0")
"""The layers of NVIDIA's file up to its first pooling."""


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
        _placed(detector)
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
        states=None if probe is None else StateReader(_placed(probe), kept("states", probe.logits)),
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


def clip_image_embedder(judge: JudgeClip, fit: Fit) -> Embed:
    """Projected CLIP image embeddings (n, d), not normalised."""
    model = _placed(judge.model)
    return lambda images: _in_batches(
        images, judge.processor, fit, lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output, model
    )


def class_token_embedder(encoder: ImageEncoder, fit: Fit) -> Embed:
    """Class tokens (n, d) of the last layer of a DINOv2-like encoder."""
    model = _placed(encoder.model)
    return lambda images: _in_batches(
        images, encoder.processor, fit, lambda pixels: model(pixel_values=pixels).last_hidden_state[:, 0], model
    )


def inception_embedder(path: str) -> Embed:
    """clean-fid's features: bicubic resizing of each channel to 299x299 without rounding, Inception v3 pool3.

    ``path`` is an existing ``inception-2015-12-05.pt``; nothing is downloaded. TorchScript files are code: only give a
    file you trust. Raises ValueError where it is missing.
    """
    model = _inception(path)
    return partial(_inception_batches, forward=model, width=2048)


def first_pool_embedder(path: str) -> Embed:
    """64 features: the mean over the picture of Inception's first pooling layer; pixels as `inception_embedder`'s.

    Raises ValueError where the file is missing or has not the layers of NVIDIA's.
    """
    layers = _inception(path).layers
    absent = [name for name in FIRST_POOL if not hasattr(layers, name)]
    if absent:
        raise ValueError(f"{path}: expected layers {', '.join(FIRST_POOL)}, lacks {', '.join(absent)}")

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        state = (pixels - 128) / 128
        for name in FIRST_POOL:
            state = getattr(layers, name)(state)
        return state.mean((2, 3))

    return partial(_inception_batches, forward=forward, width=64)


def _inception(path: str) -> Any:
    if not Path(path).is_file():
        raise ValueError(f"no file {path}; put NVIDIA's {INCEPTION_FILE} there")
    from cleanfid.inception_torchscript import InceptionV3W

    return _placed(InceptionV3W(str(Path(path).parent), download=False).eval())


def _inception_batches(
    images: Sequence[Gray], forward: Callable[[torch.Tensor], torch.Tensor], width: int
) -> NDArray[np.float32]:
    features = []
    for start in range(0, len(images), BATCH_SIZE):
        resized = [clean_resize(image, INCEPTION_EDGE) for image in images[start : start + BATCH_SIZE]]
        pixels = torch.from_numpy(np.stack(resized))[:, None].expand(-1, 3, -1, -1)
        with torch.no_grad():
            features.append(forward(pixels.to(own_device())).float().cpu().numpy())
    return np.concatenate(features) if features else np.zeros((0, width), np.float32)


def clean_resize(image: Gray, edge: int) -> NDArray[np.float32]:
    """``image`` (H, W) at (edge, edge), float 0..255: Pillow's antialiased bicubic on floats, as clean-fid's."""
    resized = Image.fromarray(image.astype(np.float32)).resize((edge, edge), Image.Resampling.BICUBIC)
    return np.asarray(resized).clip(0, 255)


def embed_captions(judge: JudgeClip, captions: Sequence[str]) -> NDArray[np.float32]:
    """Projected CLIP text embeddings (n, d), cut at the encoder's length, not normalised."""
    model = _placed(judge.model)
    embedded = []
    for start in range(0, len(captions), BATCH_SIZE):
        tokens = judge.tokenizer(
            list(captions[start : start + BATCH_SIZE]),
            padding="max_length",
            truncation=True,
            max_length=model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(own_device())
        with torch.no_grad():
            embedded.append(model.get_text_features(**tokens).pooler_output.float().cpu().numpy())
    return np.concatenate(embedded) if embedded else np.zeros((0, 0), np.float32)


def fit_to_square(image: Gray, edge: int, fit: Literal["pad", "squash"], resample: Image.Resampling) -> Image.Image:
    """``image`` (H, W) as an RGB square of ``edge`` pixels, padded with white at the centre or squashed."""
    picture = Image.fromarray(image).convert("RGB")
    if fit == "pad":
        side = max(picture.size)
        square = Image.new("RGB", (side, side), (WHITE, WHITE, WHITE))
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        picture = square
    return picture.resize((edge, edge), resample)


def _in_batches(
    images: Sequence[Gray], processor: Any, fit: Fit, forward: Callable[[torch.Tensor], torch.Tensor], model: Any
) -> NDArray[np.float32]:
    features = []
    for start in range(0, len(images), BATCH_SIZE):
        batch = images[start : start + BATCH_SIZE]
        if fit == "processor":
            pictures = [Image.fromarray(image).convert("RGB") for image in batch]
            pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
        else:
            resample = Image.Resampling(processor.resample)
            pictures = [fit_to_square(image, _edge(processor), fit, resample) for image in batch]
            pixels = processor(images=pictures, do_resize=False, do_center_crop=False, return_tensors="pt")[
                "pixel_values"
            ]
        with torch.no_grad():
            features.append(forward(pixels.to(own_device(), next(model.parameters()).dtype)).float().cpu().numpy())
    return np.concatenate(features) if features else np.zeros((0, 0), np.float32)


def _edge(processor: Any) -> int:
    """The square edge a processor ends at: its crop where it crops, its size otherwise."""
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    return int(size["height"])


def _placed(model: Any) -> Any:
    return model.to(own_device()).eval().requires_grad_(False)
