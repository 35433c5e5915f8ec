"""What it costs to look for dialogs, characters and panels: Magi's detector, or the small one for drawn worlds.

Tensors are PyTorch's fake ones here, which like those of the meta device have a shape and no values: the library's
Conditional DETR looks into its padding mask, unless the tensor says that there is nothing to see.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import ConditionalDetrModel

from diffsensei.costs.counting import count_forward, count_weights
from diffsensei.costs.networks import sizes
from diffsensei.foundations.dialog_detector import HeatmapDetector
from diffsensei.magi.layout import detection_config


def count_detection(reference: str, height: int, width: int) -> float:
    """Operations of the detector that ``reference`` names on one picture of ``height`` x ``width`` pixels."""
    processing = sizes(reference).get("detection_image_preprocessing_config")
    if processing is not None:
        edges = processing["size"]
        scale = min(edges["shortest_edge"] / min(height, width), edges["longest_edge"] / max(height, width))
        height, width = round(scale * height), round(scale * width)
    return _operations(reference, height, width)


def detector_weights(reference: str) -> int:
    """Parameters of that detector."""
    with FakeTensorMode():
        return sum(count_weights(_detector(reference)))


def _detector(reference: str) -> nn.Module:
    known = sizes(reference)
    if "detection_model_config" not in known:
        return HeatmapDetector(**known)
    config, _ = detection_config(known["detection_model_config"])
    config._attn_implementation = "eager"  # whose products the counter knows on every device
    detector: nn.Module = ConditionalDetrModel(config)
    return detector


@lru_cache
def _operations(reference: str, height: int, width: int) -> float:
    with FakeTensorMode():
        detector = _detector(reference).eval()
        if isinstance(detector, HeatmapDetector):
            grey = torch.empty(1, 1, height, width)
            return count_forward(detector, lambda: detector(grey)[0])
        pixels, mask = torch.empty(1, 3, height, width), torch.ones(1, height, width)

        def run() -> Tensor:
            tokens: Tensor = detector(pixel_values=pixels, pixel_mask=mask).last_hidden_state
            return tokens

        return count_forward(detector, run)
