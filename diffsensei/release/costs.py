"""What a release costs on a GPU: its one sample, drawn where the bundle is made and again where it is checked."""

from diffsensei.costs.networks import vae_factor
from diffsensei.costs.stages import drawing_weights, panel_operations
from diffsensei.costs.workload import FLOAT, Costs, StageCost, Workload
from diffsensei.release.sample import LATENT_EDGE


def _sample(work: Workload) -> StageCost:
    vae = work.config.model.foundations.vae
    side = vae_factor(vae) * 2 ** (len(work.config.model.unet.block_out_channels) - 1) * LATENT_EDGE
    held = drawing_weights(work, conditioned=True, adapted=True).frozen_bytes + FLOAT * work.passes.vae_weights(vae)
    return StageCost(panel_operations(work, side, conditioned=True, adapted=True) / 1e12, held)


COSTS: Costs = {"bundle": _sample, "verify": _sample}
