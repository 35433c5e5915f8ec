"""The compared methods of the paper's Table 2: how each is trained, and how it draws the benchmark.

Any of them may fail without stopping the others.
"""

from collections.abc import Mapping
from dataclasses import replace

from diffsensei.config import ExperimentConfig
from infra.stage import Json, Stage
from tasks.stages.parts import SETTING, TENSORS, compute, digest, foundations, identity, pace, threads

GENERATE_BASELINES = {
    "generate_ar_ldm": "ar_ldm",
    "generate_storygen": "storygen",
    "generate_seed_story": "seed_story",
    "generate_seed_story_given": "seed_story_given",
    "generate_storydiffusion": "storydiffusion",
    "generate_ms_diffusion": "ms_diffusion",
    "generate_ms_diffusion_dialogs": "ms_diffusion_dialogs",
}
"""Stage -> the method it draws with."""

_TEXTS = ("text_encoder", "text_encoder_2")
_SDXL = ("vae", *_TEXTS)
_SD = {"base": "baselines.stable_diffusion"}


def baseline_stages(config: ExperimentConfig) -> list[Stage]:
    """Training and drawing of every compared method."""
    stages = [
        *_sd_features(config),
        *_ar_ldm(config),
        *_storygen(config),
        *_seed_story(config),
        _generate(
            config,
            "storydiffusion",
            "storydiffusion",
            {"method": "baselines.storydiffusion"},
            {"pretrain": "pretrain"},
            sdxl=True,
        ),
        *_ms_diffusion(config),
    ]
    return [replace(stage, may_fail=True) for stage in stages]


def _sd_features(config: ExperimentConfig) -> list[Stage]:
    """VAE moments for the methods on Stable Diffusion 1.5, unless its autoencoder is SDXL's."""
    if _sd_features_name(config) == "features":
        return []
    encoders = (*_TEXTS, "clip_image_encoder", "magi_image_encoder")
    return [
        Stage(
            name="features_sd",
            version=2,
            entry="diffsensei.training.features:encode_features",
            config={
                "buckets": "data.buckets",
                "magi_patches": "model.fidelity.magi_patches",
                "vae": "baselines.stable_diffusion.vae",
                **foundations(*encoders),
            },
            literals={"cache": {"text": False, "characters": False}},
            pace=threads(config),
            inputs={"panels": "panels"},
            resources=compute(config),
            identity={"vae": digest(config.baselines.stable_diffusion.vae)} | identity(config, *encoders),
            packages=TENSORS,
        )
    ]


def _sd_features_name(config: ExperimentConfig) -> str:
    same = config.baselines.stable_diffusion.vae == config.model.foundations.vae
    return "features" if same else "features_sd"


def _ar_ldm(config: ExperimentConfig) -> list[Stage]:
    path = "baselines.ar_ldm"
    trained = _train(
        config,
        "ar_ldm",
        "diffsensei.baselines.ar_ldm.stages:train_ar_ldm",
        {
            "stage": f"{path}.training",
            **_fields("ar_ldm", "blip", "window", "caption_length", "drop_rate"),
            **_SD,
        },
        {"features": _sd_features_name(config)},
        _sd_identity(config) | {"blip": digest(config.baselines.ar_ldm.blip.reference)},
    )
    return [trained, _generate(config, "ar_ldm", "ar_ldm", {"method": path}, {"trained": "ar_ldm"}, sdxl=False)]


def _storygen(config: ExperimentConfig) -> list[Stage]:
    path, module = "baselines.storygen", "diffsensei.baselines.storygen.stages"
    shared = {**_fields("storygen", "drops", "mask_dialogs"), "max_dialogs": "data.conditioning.max_dialogs", **_SD}
    features = {"features": _sd_features_name(config)}
    found = _sd_identity(config)
    return [
        _train(
            config,
            "storygen_single",
            f"{module}:train_storygen_single",
            {"stage": f"{path}.single", **shared},
            features,
            found,
        ),
        _train(
            config,
            "storygen",
            f"{module}:train_storygen",
            {"stage": f"{path}.context", **_fields("storygen", "window", "context_side"), **shared},
            features | {"single": "storygen_single"},
            found,
        ),
        _generate(config, "storygen", "storygen", {"method": path}, {"trained": "storygen"}, sdxl=False),
    ]


def _seed_story(config: ExperimentConfig) -> list[Stage]:
    path, module = "baselines.seed_story", "diffsensei.baselines.seed_story.stages"
    recipe = config.baselines.seed_story
    found = {"visual_encoder": digest(recipe.visual_encoder), "llm": digest(recipe.llm)}
    shared = {**_fields("seed_story", "visual_encoder", "window"), **foundations("vae")}
    weights = {"language": "seed_story_language", "trained": "seed_story"}
    return [
        _train(
            config,
            "seed_story_language",
            f"{module}:train_seed_story_language",
            {"stage": f"{path}.language_training", **_fields("seed_story", "llm", "language"), **shared},
            {"features": "features"},
            found | identity(config, "vae"),
        ),
        _train(
            config,
            "seed_story",
            f"{module}:train_seed_story",
            {
                "stage": f"{path}.detokenizer_training",
                "max_caption_tokens": f"{path}.language.max_caption_tokens",
                **_fields("seed_story", "resampler", "drop_rate"),
                **shared,
                **foundations(*_TEXTS),
            },
            {"features": "features", "pretrain": "pretrain", "language": "seed_story_language"},
            found | identity(config, *_SDXL),
        ),
        *(
            _generate(config, name, "seed_story", {"method": path}, weights, sdxl=True, captions=captions)
            for name, captions in (("seed_story", "own"), ("seed_story_given", "given"))
        ),
    ]


def _ms_diffusion(config: ExperimentConfig) -> list[Stage]:
    """Without and with dialogs: the paper's dagger must mean that it was given DiffSensei's dialog embedding."""
    path = "baselines.ms_diffusion"
    subjects = {**_fields("ms_diffusion", "clip_image_encoder", "phrase"), "conditioning": "data.conditioning"}
    stages = []
    for name, dialogs, recipe in (
        ("ms_diffusion", "none", "training"),
        ("ms_diffusion_dialogs", "mask", "dialogs_training"),
    ):
        trained = _train(
            config,
            name,
            "diffsensei.baselines.ms_diffusion.stages:train_ms_diffusion",
            {
                "stage": f"{path}.{recipe}",
                **_fields("ms_diffusion", "grounding", "drops"),
                **subjects,
                **foundations(*_SDXL, "magi_image_encoder"),
            },
            {"features": "features", "pretrain": "pretrain"},
            {"image_encoder": digest(config.baselines.ms_diffusion.clip_image_encoder)}
            | identity(config, *_SDXL, "magi_image_encoder"),
        )
        trained = replace(trained, literals={"dialogs": dialogs})
        drawn = _generate(
            config,
            name,
            "ms_diffusion",
            {"sampling": f"{path}.sampling", **subjects},
            {"pretrain": "pretrain", "trained": name},
            sdxl=True,
            dialogs=dialogs,
        )
        stages += [trained, drawn]
    return stages


def _train(
    config: ExperimentConfig,
    name: str,
    entry: str,
    arguments: Mapping[str, str],
    inputs: Mapping[str, str],
    found: Mapping[str, str],
) -> Stage:
    return Stage(
        name=name,
        version=1,
        entry=entry,
        config={**arguments, **SETTING},
        pace=pace(config),
        inputs={"panels": "panels", **inputs},
        resources=compute(config, processes=config.training.num_processes),
        launcher="accelerate",
        identity=found,
        packages=TENSORS,
    )


def _generate(
    config: ExperimentConfig,
    name: str,
    package: str,
    arguments: Mapping[str, str],
    weights: Mapping[str, str],
    *,
    sdxl: bool,
    **literals: Json,
) -> Stage:
    """The stage that draws with method ``name``, which lies in ``diffsensei.baselines.<package>``."""
    parts = {"foundations": "model.foundations"} if sdxl else _SD
    return Stage(
        name=f"generate_{name}",
        version=4,
        entry=f"diffsensei.baselines.{package}.stages:generate_{package}",
        config={**arguments, "seeds": "evaluation.seeds", **parts},
        literals=literals,
        pace=pace(config),
        inputs={"benchmark": "benchmark", **weights},
        resources=compute(config),
        identity=identity(config, *_SDXL) if sdxl else _sd_identity(config),
        packages=TENSORS,
    )


def _fields(method: str, *names: str) -> dict[str, str]:
    """Argument -> dotted path of fields of a method that are handed over under their own names."""
    return {name: f"baselines.{method}.{name}" for name in names}


def _sd_identity(config: ExperimentConfig) -> dict[str, str]:
    base = config.baselines.stable_diffusion
    return {"vae": digest(base.vae), "text_encoder": digest(base.text_encoder), "unet": digest(base.unet)}
