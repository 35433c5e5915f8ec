"""A random Magi of a few thousand weights, written in the layout and under the names of the published one."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import ConditionalDetrConfig, ConditionalDetrModel, ViTMAEConfig, ViTMAEModel

STATE = "model.safetensors"
WIDTH, CROP_WIDTH, NUM_OBJECTS = 16, 12, 20

BACKBONE = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage4"],
}


def write_tiny_magi(folder: Path, *, backbone: dict[str, Any] | None = None, seed: int = 23) -> Path:
    """The default seed gives pages with some of every label.

    ``backbone``: what the detector's configuration says of it; a tiny transformers ResNet by default.
    """
    torch.manual_seed(seed)
    detection_config = ConditionalDetrConfig(
        d_model=WIDTH,
        num_queries=NUM_OBJECTS + 5,
        num_labels=3,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        backbone_config=backbone or BACKBONE,
    )
    crop_config = ViTMAEConfig(
        hidden_size=CROP_WIDTH,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        mask_ratio=0.75,
    )
    state = _stored(ConditionalDetrModel(detection_config), folder / "parts" / "detection", "detection_transformer.")
    _enliven(state)
    state |= _stored(ViTMAEModel(crop_config), folder / "parts" / "crops", "crop_embedding_model.")
    state |= _linear("class_labels_classifier", WIDTH, 3, gain=2.0)
    state |= _head("bbox_predictor", WIDTH, 4)
    state |= _head("character_character_matching_head", 3 * WIDTH + 2 * CROP_WIDTH, 1)
    state |= _head("text_character_matching_head", 3 * WIDTH, 1)
    state |= _head("is_this_text_a_dialogue", WIDTH, 1)
    state["ocr_model.decoder.lm_head.weight"] = torch.zeros(2, 3)
    save_file(state, folder / STATE)
    (folder / "config.json").write_text(
        json.dumps(
            {
                "model_type": "magi",
                "auto_map": {"AutoModel": "modelling_magi.MagiModel"},
                "disable_ocr": False,
                "disable_crop_embeddings": False,
                "disable_detections": False,
                "detection_model_config": detection_config.to_dict(),
                "crop_embedding_model_config": crop_config.to_dict(),
                "ocr_model_config": {"model_type": "vision-encoder-decoder"},
                "ocr_pretrained_processor_path": "somebody/reader",
                "detection_image_preprocessing_config": {
                    "image_processor_type": "ConditionalDetrImageProcessor",
                    "size": {"shortest_edge": 64, "longest_edge": 96},
                    "format": "coco_detection",
                    "image_mean": [0.485, 0.456, 0.406],
                    "image_std": [0.229, 0.224, 0.225],
                    "do_resize": True,
                    "do_rescale": True,
                    "do_normalize": True,
                    "do_pad": True,
                    "resample": 2,
                    "rescale_factor": 1 / 255,
                },
                "crop_embedding_image_preprocessing_config": {
                    "image_processor_type": "ViTImageProcessor",
                    "size": {"height": 16, "width": 16},
                    "image_mean": [0.485, 0.456, 0.406],
                    "image_std": [0.229, 0.224, 0.225],
                    "do_resize": True,
                    "do_rescale": True,
                    "do_normalize": True,
                    "resample": 2,
                    "rescale_factor": 1 / 255,
                },
            }
        )
    )
    return folder


def _stored(model: Any, folder: Path, prefix: str) -> dict[str, Tensor]:
    """The weights as the library writes them: under the names checkpoints have always had."""
    model.save_pretrained(folder)
    return {prefix + key: value for key, value in load_file(folder / STATE).items()}


def _enliven(state: dict[str, Tensor]) -> None:
    """As initialised, the detector's objects are all but equal; these differ by query and by page."""
    for name in sorted(state):
        if name.startswith("detection_transformer.") and name.endswith("weight") and state[name].dim() > 1:
            fan_in = state[name][0].numel()
            state[name] = 1.5 * torch.randn(state[name].shape) / fan_in**0.5
    state["detection_transformer.query_position_embeddings.weight"] = 4 * torch.randn(NUM_OBJECTS + 5, WIDTH)


def _head(name: str, inputs: int, outputs: int) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for layer, (before, after) in enumerate(((inputs, WIDTH), (WIDTH, WIDTH), (WIDTH, outputs))):
        state |= _linear(f"{name}.layers.{layer}", before, after, gain=1.5)
    return state


def _linear(name: str, inputs: int, outputs: int, gain: float) -> dict[str, Tensor]:
    return {
        f"{name}.weight": gain * torch.randn(outputs, inputs) / inputs**0.5,
        f"{name}.bias": 0.1 * torch.randn(outputs),
    }
