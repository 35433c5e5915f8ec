"""What scoring costs: each picture once through each judge, whose features are then kept.

The mean of Inception's first pooling layer is left out: a small part of a pass that is counted.
"""

from functools import partial

import diffsensei.models.torchvision_schemas  # noqa: F401  before torchvision, beside a CPU build of torch

# isort: split

import torch
from torch import Tensor, nn
from torchvision.models import inception_v3

from diffsensei.costs.counting import count_forward, count_weights
from diffsensei.costs.detection import count_detection, detector_weights
from diffsensei.costs.networks import meta_text_encoder, meta_vision_tower, sizes
from diffsensei.costs.workload import CROPS_PER_PANEL, FLOAT, Costs, StageCost, Workload
from diffsensei.evaluation.compared_methods import METHODS
from diffsensei.evaluation.inception import INCEPTION_EDGE, INCEPTION_FILE
from diffsensei.evaluation.judges import NONE
from diffsensei.foundations.state_probe import StateProbe

ANCHORS = 2
"""Sets of true panels that are scored beside the methods': as they are, and another of the same series."""


def count_scoring(work: Workload, methods: int) -> StageCost:
    """Of what ``methods`` drew, at every seed."""
    judges = work.config.evaluation.judges
    panels = work.data.held_out.count - sum(work.data.held_out.pages.values())  # the first of each page is given
    crops = CROPS_PER_PANEL * panels
    clips = (judges.clip, *judges.further_clip)
    networks: list[nn.Module] = [meta_vision_tower(name)[0] for name in (*clips, judges.dino)]
    networks += [meta_text_encoder(name) for name in clips]

    image = sum(work.passes.image(name) for name in clips) + (1 + CROPS_PER_PANEL) * work.passes.image(judges.dino)
    image += work.held_out_mean(lambda side: count_detection(judges.dialog_detector, side, side))
    if judges.fid_features.endswith(INCEPTION_FILE):
        inception = _inception()
        networks.append(inception)
        image += count_forward(inception, partial(_on_square, inception, 3, INCEPTION_EDGE))
    elif judges.fid_features != judges.clip:
        networks.append(meta_vision_tower(judges.fid_features)[0])
        image += work.passes.image(judges.fid_features)
    if judges.states != NONE:
        probe = _probe(judges.states)
        networks.append(probe)
        image += CROPS_PER_PANEL * count_forward(probe, partial(_on_square, probe.body, 1, probe.side))

    pictures = panels * (ANCHORS + methods * work.num_seeds)
    captions = panels * sum(work.passes.caption(name) for name in clips)
    total = pictures * image + captions + crops * work.passes.image(judges.dino)
    weights = detector_weights(judges.dialog_detector) + sum(sum(count_weights(network)) for network in networks)
    return StageCost(total / 1e12, FLOAT * weights)


def _inception() -> nn.Module:
    """torchvision's, whose convolutions are those of the network that FID is defined on."""
    with torch.device("meta"):
        return inception_v3(weights=None, init_weights=False).eval()


def _probe(reference: str) -> StateProbe:
    with torch.device("meta"):
        return StateProbe(**sizes(reference))


def _on_square(network: nn.Module, channels: int, side: int) -> Tensor:
    found: Tensor = network(torch.empty(1, channels, side, side, device="meta"))
    return found


COSTS: Costs = {"score": lambda work: count_scoring(work, len(METHODS))}
