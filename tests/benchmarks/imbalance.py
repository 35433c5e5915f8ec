"""How much longer a training step takes than its mean rank, since the slowest of 8 ranks decides.

Exact up to the draws, and no timing: work is counted in multiply-adds of the UNet. In the reference each rank draws a
bucket of its own, of 8, 2 or 1 panels by size; here all ranks share the bucket of the step.
"""

import numpy as np
from numpy.typing import NDArray

from diffsensei.config.presets import paper
from diffsensei.data.panels.bucket_sampler import BucketSampler
from diffsensei.data.panels.buckets import build_buckets
from diffsensei.seeding import numpy_stream

RANKS, STEPS = 8, 4000
MIX = (0.45, 0.45, 0.10)
"""Assumed shares of panels in the tiers 256, 512 and 1024: MangaZero's are not published."""
WORK = (1.40, 4.90, 20.5)
"""TFLOP of forward and backward pass of SDXL's UNet with character attention, for a panel of each tier."""


def measured() -> str:
    """One line: the reference's law and ours."""
    return (
        f"Slowest of {RANKS} ranks over their mean: {ours():.2f} where a step has one bucket, {reference():.2f} where "
        f"each rank draws its own (goal: 1.10)"
    )


def reference() -> float:
    """Each rank picks a bucket in proportion to its batches, as the reference's sampler does on every rank."""
    stage = paper().training.stage1
    work = np.array(WORK) * np.array(stage.micro_batch_size)
    batches = np.array(MIX) / np.array(stage.micro_batch_size)
    ranks = numpy_stream(0, "ranks").choice(len(work), size=(STEPS, RANKS), p=batches / batches.sum())
    return _ratio(work[ranks])


def ours() -> float:
    """The work of each rank in the first steps of the paper's stage 1, by the sampler that training uses."""
    experiment = paper()
    buckets, stage = build_buckets(experiment.data.buckets), experiment.training.stage1
    tiers = np.array([bucket.tier_index for bucket in buckets])
    per_tier = np.bincount(tiers)
    share = np.array(MIX)[tiers] / per_tier[tiers]
    panels = numpy_stream(0, "panels").choice(len(buckets), size=20_000, p=share)
    sampler = BucketSampler(panels, [stage.global_batch_size[tier] for tier in tiers], seed=0)
    rows = []
    for step in range(STEPS // 10):
        batch = sampler.batch(step)
        tier = tiers[batch.bucket]
        parts = np.arange(len(batch.panels) // stage.micro_batch_size[tier])
        per_rank = np.bincount(parts % RANKS, minlength=RANKS)
        rows.append(per_rank * stage.micro_batch_size[tier] * WORK[tier])
    return _ratio(np.array(rows))


def _ratio(work: NDArray[np.float64]) -> float:
    """(steps, ranks) -> time with waiting over time without."""
    return float(work.max(axis=1).sum() / work.mean(axis=1).sum())
