"""The training stages of the paper (sec. 5.1), on features that are computed once."""

from diffsensei.config import ExperimentConfig
from infra.stage import Stage
from tasks.stages.parts import SETTING, TENSORS, compute, foundations, identity, pace, threads


def training_stages(config: ExperimentConfig) -> list[Stage]:
    """Cached features, and the three stages of training."""
    texts = foundations("text_encoder", "text_encoder_2")
    images = foundations("clip_image_encoder", "magi_image_encoder")
    resources = compute(config, processes=config.training.num_processes)
    data = {"panels": "panels", "features": "features"}
    return [
        Stage(
            name="features",
            version=2,
            entry="diffsensei.training.features:encode_features",
            config={
                "buckets": "data.buckets",
                "cache": "data.cache",
                "magi_patches": "model.fidelity.magi_patches",
                **foundations("vae"),
                **texts,
                **images,
            },
            pace=threads(config),
            inputs={"panels": "panels"},
            resources=compute(config),
            identity=identity(config, "vae", *texts, *images),
            packages=TENSORS,
        ),
        Stage(
            name="pretrain",
            version=1,
            entry="diffsensei.training.stages:pretrain",
            config={
                "stage": "training.pretrain",
                **foundations("vae"),
                "unet": "model.unet",
                "unet_weights": "model.foundations.unet",
                "caption_drop_rate": "data.conditioning.caption_drop_rate",
                **texts,
                **SETTING,
            },
            pace=pace(config),
            inputs=data,
            resources=resources,
            launcher="accelerate",
            identity=identity(config, "vae", "unet", *texts),
            packages=TENSORS,
        ),
        Stage(
            name="stage1",
            version=1,
            entry="diffsensei.training.stages:stage1",
            config={
                "stage": "training.stage1",
                **foundations("vae"),
                "layout": "model.layout",
                "fidelity": "model.fidelity",
                "resampler": "model.resampler",
                "ip_adapter": "model.foundations.ip_adapter",
                "conditioning": "data.conditioning",
                **texts,
                **images,
                **SETTING,
            },
            pace=pace(config),
            inputs=data | {"pretrain": "pretrain"},
            resources=resources,
            launcher="accelerate",
            identity=identity(config, "vae", "ip_adapter", *texts, *images),
            packages=TENSORS,
        ),
        Stage(
            name="stage2",
            version=1,
            entry="diffsensei.training.stages:stage2",
            config={
                "stage": "training.stage2",
                **foundations("vae"),
                "fidelity": "model.fidelity",
                "adapter": "model.adapter",
                "conditioning": "data.conditioning",
                **foundations("llm"),
                **texts,
                **images,
                **SETTING,
            },
            pace=pace(config),
            inputs=data | {"stage1": "stage1"},
            resources=resources,
            launcher="accelerate",
            identity=identity(config, "vae", "llm", *texts, *images),
            packages=TENSORS,
        ),
    ]
