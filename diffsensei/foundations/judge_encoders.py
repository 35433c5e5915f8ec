"""Loads what judges: CLIP and DINO, the detector of dialogs, the probe of states. Strictly, as `reading` does.

Models come back in evaluation mode, without gradients, in float32 whatever precision they are stored in (``dtype``
asks for another).
"""

from dataclasses import dataclass

import torch
from transformers import (
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Model,
    PreTrainedTokenizerBase,
)
from transformers.image_processing_utils import BaseImageProcessor

from diffsensei.foundations.dialog_detector import DialogDetector, HeatmapDetector
from diffsensei.foundations.loading import ImageEncoder, load_magi
from diffsensei.foundations.locations import resolve
from diffsensei.foundations.magi_dialogs import MagiDialogDetector
from diffsensei.foundations.reading import (
    checked,
    fill_strictly,
    read_config,
    read_model,
    read_processor,
    read_state,
    read_tokenizer,
)
from diffsensei.foundations.state_probe import StateProbe
from diffsensei.magi.layout import is_magi


@dataclass(frozen=True)
class JudgeClip:
    model: CLIPModel
    tokenizer: PreTrainedTokenizerBase
    processor: BaseImageProcessor


def load_judge_clip(reference: str, dtype: torch.dtype = torch.float32) -> JudgeClip:
    """CLIP with both towers, for text-image agreement."""
    location = resolve(reference)
    return JudgeClip(
        read_model(CLIPModel, location, dtype=dtype),
        read_tokenizer(CLIPTokenizer, location),
        load_clip_processor(reference),
    )


def load_clip_processor(reference: str) -> BaseImageProcessor:
    """How a CLIP model prepares pictures, without its weights."""
    return read_processor(CLIPImageProcessorPil, resolve(reference))


def load_judge_dino(reference: str, dtype: torch.dtype = torch.float32) -> ImageEncoder:
    """DINOv2, for image-image similarity by its CLS token."""
    return ImageEncoder(read_model(Dinov2Model, resolve(reference), dtype=dtype), load_dino_processor(reference))


def load_dino_processor(reference: str) -> BaseImageProcessor:
    """How DINOv2 prepares pictures, without its weights."""
    return read_processor(BitImageProcessorPil, resolve(reference))


def load_dialog_detector(reference: str) -> DialogDetector:
    """The detector of dialogs in a folder of our own format (`dialog_detector`), or Magi's."""
    location = resolve(reference)
    config = read_config(location)
    if is_magi(config):
        return MagiDialogDetector(load_magi(reference)).eval()
    detector = checked(location, lambda: HeatmapDetector(**config))
    fill_strictly(detector, read_state(location), reference)
    return detector.float().eval().requires_grad_(False)


def is_magi_detector(reference: str) -> bool:
    """Whether `load_dialog_detector` gives Magi, which finds characters, too."""
    return is_magi(read_config(resolve(reference)))


def load_state_probe(reference: str) -> StateProbe:
    """The probe of drawn characters' states in a folder of our own format (`state_probe`)."""
    location = resolve(reference)
    config = read_config(location)
    probe = checked(location, lambda: StateProbe(**config))
    fill_strictly(probe, read_state(location), reference)
    return probe.float().eval().requires_grad_(False)


def read_probe_accuracy(reference: str) -> dict[str, float]:
    """Attribute -> how often the probe is right on true crops that no training saw; no weights are read."""
    location = resolve(reference)
    found = read_config(location).get("held_out_accuracy")
    if not isinstance(found, dict):
        raise ValueError(f"{reference}: config.json lacks held_out_accuracy; it is no probe of states")
    return {str(name): float(value) for name, value in found.items()}
