"""Magi's checkpoint: one state dict, and one configuration that nests those of its parts and of its image processors.

Prefixes and keys are the reference code's. Its reader of text (`ocr_model.`) is not part of ours.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import ConditionalDetrConfig, PreTrainedConfig, ViTMAEConfig

from diffsensei.magi.timm_backbone import rename_timm_resnet, resnet_config
from diffsensei.models.weights import below

DETECTION_PREFIX = "detection_transformer."
CROPS_PREFIX = "crop_embedding_model."
EVERY_PATCH = {"mask_ratio": 0.0}
IGNORED_PREFIXES = ("ocr_model.",)

_SECTIONS = (
    "detection_model_config",
    "detection_image_preprocessing_config",
    "crop_embedding_model_config",
    "crop_embedding_image_preprocessing_config",
)
_STORED_BACKBONE = "backbone.conv_encoder.model."
_TIMM_OPTIONS = ("use_timm_backbone", "use_pretrained_backbone", "backbone", "backbone_kwargs", "dilation")


@dataclass(frozen=True)
class Part:
    """What a model is built from, its tensors without the prefix, and the options of its image processor."""

    config: PreTrainedConfig
    state: dict[str, Tensor]
    processing: dict[str, Any]


@dataclass(frozen=True)
class MagiLayout:
    detection: Part
    crops: Part
    other_state: dict[str, Tensor]
    """Everything else but the ignored prefixes, under its full names."""


def is_magi(config: dict[str, Any]) -> bool:
    """Whether a config.json is one of Magi's."""
    return "detection_model_config" in config or "crop_embedding_model_config" in config


def take_apart(config: dict[str, Any], state: dict[str, Tensor]) -> MagiLayout:
    """Raises ValueError (one line) for a Magi without detector or crop encoder and for an unknown backbone."""
    absent = [key for key in _SECTIONS if not config.get(key)]
    if absent:
        raise ValueError(f"expected Magi's config.json, got one without {', '.join(absent)}")
    for part in ("detections", "crop_embeddings"):
        if config.get(f"disable_{part}"):
            raise ValueError(f"expected a whole Magi, got one whose configuration says disable_{part}")
    of_detector, is_timm = detection_config(config["detection_model_config"])
    detection_state = below(DETECTION_PREFIX, state)
    if is_timm:
        detection_state = rename_timm_resnet(detection_state, _STORED_BACKBONE)
    taken = (DETECTION_PREFIX, CROPS_PREFIX, *IGNORED_PREFIXES)
    return MagiLayout(
        detection=Part(of_detector, detection_state, _options(config["detection_image_preprocessing_config"])),
        crops=crop_encoder(config, state),
        other_state={key: value for key, value in state.items() if not key.startswith(taken)},
    )


def crop_encoder(config: dict[str, Any], state: dict[str, Tensor], changes: dict[str, float] = EVERY_PATCH) -> Part:
    """The crop encoder of a Magi, with ``changes`` to its configuration: by default a ViT-MAE that hides no patch."""
    return Part(
        ViTMAEConfig(**config["crop_embedding_model_config"] | changes),
        below(CROPS_PREFIX, state),
        _options(config["crop_embedding_image_preprocessing_config"]),
    )


def detection_config(stored: dict[str, Any]) -> tuple[ConditionalDetrConfig, bool]:
    """The detector's configuration, and whether its backbone is stored under timm's names."""
    options = {key: value for key, value in stored.items() if key not in _TIMM_OPTIONS}
    backbone = stored.get("backbone_config")
    if backbone and backbone.get("model_type") != "timm_backbone":
        return ConditionalDetrConfig(**options), False
    if stored.get("dilation") or (backbone or {}).get("output_stride"):
        raise ValueError("expected a backbone without dilation, got one with; only plain ResNets are known")
    options["backbone_config"] = resnet_config((backbone or stored).get("backbone") or "resnet50")
    return ConditionalDetrConfig(**options), True


def _options(processing: dict[str, Any]) -> dict[str, Any]:
    """Without the class names (``image_processor_type`` and the like), which name remote or torchvision classes."""
    return {key: value for key, value in processing.items() if not key.endswith("_type")}
