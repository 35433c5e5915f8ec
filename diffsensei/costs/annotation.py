"""What it costs to annotate pages that came without: panels found by Magi, captions by LLaVA-NeXT."""

import math

import torch
from torch import Tensor
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

from diffsensei.costs.counting import count_forward, count_weights
from diffsensei.costs.detection import count_detection, detector_weights
from diffsensei.costs.networks import NotCounted, in_bfloat16, sizes
from diffsensei.costs.passes import language_pass
from diffsensei.costs.workload import CROPS_PER_PANEL, FLOAT, HALF, Costs, StageCost, Workload

PAGE_SHAPE = (1200, 1600)
"""Height and width that stand for a double page; the detector scales pages to a size of its own."""
PROMPT_TOKENS = 80
"""Of the question, with what the chat template puts around it."""


def _detect(work: Workload) -> StageCost:
    detector = work.config.data.annotation.detector
    source = max(work.data.training, work.data.held_out, key=lambda panels: panels.count)
    pages, crops = sum(source.pages.values()), CROPS_PER_PANEL * source.count
    total = pages * count_detection(detector, *PAGE_SHAPE) + crops * work.passes.image(detector)
    return StageCost(total / 1e12, FLOAT * detector_weights(detector))


def _caption(work: Workload) -> StageCost:
    """Panels count as square, which make the most tiles; words come one by one, far from a GPU's speed."""
    captioner = work.config.data.annotation.captioner
    if captioner.backend != "transformers":
        raise NotCounted("captions come from a server")
    known = sizes(captioner.model)
    with torch.device("meta"):
        model = LlavaNextForConditionalGeneration(
            LlavaNextConfig(
                vision_config={"model_type": "clip_vision_model", **known["vision_config"]},
                text_config={"model_type": "llama", **known["text_config"]},
            )
        )
    in_bfloat16(model)
    side = int(known["vision_config"]["image_size"])
    tiles = math.ceil(captioner.max_image_side / side) ** 2 + 1  # and one of the whole picture
    patches = tiles * (side // int(known["vision_config"]["patch_size"])) ** 2
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    pixels = torch.empty(tiles, 3, side, side, device="meta", dtype=torch.bfloat16)
    features = torch.empty(1, patches, tower.config.hidden_size, device="meta", dtype=torch.bfloat16)

    def see() -> Tensor:
        tower(pixels)
        projected: Tensor = projector(features)
        return projected

    tokens = patches + PROMPT_TOKENS + captioner.max_new_tokens
    language = model.model.language_model
    told = language_pass(language, tokens, backward=False).forward
    source = max(work.data.training, work.data.held_out, key=lambda panels: panels.count)
    total = source.count * (count_forward(model, see) + told)
    return StageCost(total / 1e12, HALF * sum(count_weights(model)))


COSTS: Costs = {"detect": _detect, "caption": _caption}
