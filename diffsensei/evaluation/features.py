"""The encoders that judge, and one pass of each over a list of panels.

Every image is decoded once and handed to all judges. A square encoder meets a panel in one of three ways (``fit``):
its own processor's (short side to size, centre crop: up to three quarters of a 4:1 panel go unseen), padded to a
square with white, or squashed to a square. Judges that cannot be loaded are a state with a reason, not a crash.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from diffsensei.config.schema import JudgeConfig
from diffsensei.foundations.loading import (
    DialogDetector,
    ImageEncoder,
    JudgeClip,
    load_dialog_detector,
    load_judge_clip,
    load_judge_dino,
)

Fit = Literal["processor", "pad", "squash"]
Gray = NDArray[np.uint8]
Embed = Callable[[Sequence[Gray]], NDArray[np.float32]]
"""Panels or crops (H, W) uint8 to features (n, d)."""

BATCH_SIZE = 64
WHITE = 255
INCEPTION_FILE = "inception-2015-12-05.pt"
INCEPTION_EDGE = 299


@dataclass(frozen=True)
class Judges:
    """The judges that could be loaded; ``missing`` says for each of the others why not."""

    clip: Embed | None
    captions: Callable[[Sequence[str]], NDArray[np.float32]] | None
    dino: Embed | None
    detector: DialogDetector | None
    distribution: Embed | None
    """Features for FID and KID."""
    distribution_name: str
    missing: dict[str, str]
    """Judge ("clip", "dino", "detector", "distribution") to reason."""


def load_judges(config: JudgeConfig) -> Judges:
    """The judges of ``config``, on the GPU where there is one."""
    missing: dict[str, str] = {}

    def attempt(name: str, load: Callable[[str], Any], reference: str) -> Any:
        try:
            return load(reference)
        except (ValueError, OSError) as error:
            missing[name] = f"{reference} could not be loaded ({str(error).splitlines()[0]})"
            return None

    clip = attempt("clip", load_judge_clip, config.clip)
    dino = attempt("dino", load_judge_dino, config.dino)
    detector = attempt("detector", load_dialog_detector, config.dialog_detector)
    if isinstance(detector, torch.nn.Module):
        _placed(detector)
    clip_embed = None if clip is None else clip_image_embedder(clip, config.fit)
    name = f"CLIP image embedding of {config.fid_features}, fit {config.fit}"
    if config.fid_features == config.clip:
        distribution = clip_embed
        if clip is None:
            missing["distribution"] = missing["clip"]
    elif config.fid_features.endswith(INCEPTION_FILE):
        distribution = attempt("distribution", inception_embedder, config.fid_features)
        name = "Inception v3 pool3 (2048), clean-fid resizing"
    else:
        other = attempt("distribution", load_judge_clip, config.fid_features)
        distribution = None if other is None else clip_image_embedder(other, config.fit)
    return Judges(
        clip=clip_embed,
        captions=None if clip is None else lambda texts: embed_captions(clip, texts),
        dino=None if dino is None else class_token_embedder(dino, config.fit),
        detector=detector,
        distribution=distribution,
        distribution_name=name,
        missing=missing,
    )


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
    if not Path(path).is_file():
        raise ValueError(f"no file {path}; put NVIDIA's {INCEPTION_FILE} there")
    from cleanfid.inception_torchscript import InceptionV3W

    model = _placed(InceptionV3W(str(Path(path).parent), download=False).eval())

    def embed(images: Sequence[Gray]) -> NDArray[np.float32]:
        features = []
        for start in range(0, len(images), BATCH_SIZE):
            resized = [clean_resize(image, INCEPTION_EDGE) for image in images[start : start + BATCH_SIZE]]
            pixels = torch.from_numpy(np.stack(resized))[:, None].expand(-1, 3, -1, -1)
            with torch.no_grad():
                features.append(model(pixels.to(_device())).float().cpu().numpy())
        return np.concatenate(features) if features else np.zeros((0, 2048), np.float32)

    return embed


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
        ).to(_device())
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
            features.append(forward(pixels.to(_device(), next(model.parameters()).dtype)).float().cpu().numpy())
    return np.concatenate(features) if features else np.zeros((0, 0), np.float32)


def _edge(processor: Any) -> int:
    """The square edge a processor ends at: its crop where it crops, its size otherwise."""
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    return int(size["height"])


def _placed(model: Any) -> Any:
    return model.to(_device()).eval().requires_grad_(False)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
