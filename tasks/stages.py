"""The stages of the pipeline, each declared once: what it calls, what it reads, what it needs.

Plan, flows and provenance all read this table. Raise a stage's version when the same inputs give another result.
"""

from pathlib import Path

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import FilesSource, Manga109Source, MangaZeroSource
from infra.dask_cluster import SlurmWorkers
from infra.digest import file_digest
from infra.settings import Settings
from infra.stage import Resources, Stage

PIXELS = ("numpy", "pillow")
TENSORS = ("torch", "diffusers", "transformers", "peft")

GENERATE: dict[str, tuple[str, tuple[str, ...]]] = {
    "generate_sdxl_t2i": ("sdxl_t2i", ("pretrain",)),
    "generate_stage1": ("diffsensei_stage1", ("stage1",)),
    "generate_diffsensei": ("diffsensei", ("stage1", "stage2")),
}
"""Stage -> method, and the training stages whose weights it draws with."""

COMPUTE = frozenset(
    {"detect", "caption", "features", "pretrain", "stage1", "stage2", *GENERATE, "score", "bundle", "verify"}
)
"""Stages that keep every core or GPU busy by themselves."""


def pipeline_stages(config: ExperimentConfig) -> list[Stage]:
    """Every stage, inputs before what uses them.

    Raises ValueError where a file or a frozen model that the configuration names does not exist.
    """
    stages = [*_data(config), *_training(config), *_benchmark(config), *_release(config)]
    provenance = Stage(
        name="provenance",
        version=1,
        entry="tasks.lineage:write_provenance",
        config={"config": ""},
        inputs={stage.name: stage.name for stage in stages},
    )
    report = Stage(
        name="report",
        version=2,
        entry="reports.site:build_report",
        config={"config": ""},
        inputs={stage.name: stage.name for stage in [*stages, provenance]},
        packages=("jinja2", "matplotlib", "pillow"),
    )
    return [*stages, provenance, report]


def _data(config: ExperimentConfig) -> list[Stage]:
    source = config.data.source
    workers = config.runtime.dask_workers
    dask = Resources(cpus=workers, dask_workers=workers)
    annotation, annotations = _annotation(config)

    if config.runtime.dask != "local":
        slurm = SlurmWorkers.model_validate(config.runtime.dask.model_dump())
        dask = Resources(cpus=1, dask_workers=workers, dask_slurm=slurm)
    return [
        Stage(
            name="annotations",
            version=1,
            entry="diffsensei.data.sources.annotations:collect_annotations",
            config={"source": "data.source"},
            identity={"file": _file_identity(source.annotations)} if isinstance(source, MangaZeroSource) else {},
            packages=(*PIXELS, "opencv-python-headless"),
        ),
        Stage(
            name="download",
            version=1,
            entry="diffsensei.data.download.pages:download_pages",
            config={"source": "data.source", "download": "data.download"},
            pace={"library": str(library_folder()), "limits": str(Settings().limits.absolute())},
            inputs={"annotations": "annotations"},
            identity=_retries() if isinstance(source, MangaZeroSource) else {},
        ),
        *annotation,
        Stage(
            name="validate",
            version=2,
            entry="diffsensei.data.validation.pages:validate_pages",
            config={
                "validation": "data.validation",
                "download": "data.download",
                "buckets": "data.buckets",
                **_foundations("text_encoder"),
            },
            inputs={"annotations": annotations, "download_dir": "download"},
            resources=dask,
            identity=_identity(config, "text_encoder") | _validation_files(config),
            packages=(*PIXELS, "great-expectations", "transformers"),
        ),
        Stage(
            name="panels",
            version=2,
            entry="diffsensei.data.panels.cutting:cut_panels",
            config={"split": "data.split"},
            inputs={"validated": "validate"},
            resources=dask,
            packages=PIXELS,
        ),
    ]


def _annotation(config: ExperimentConfig) -> tuple[list[Stage], str]:
    """The stages that annotate what the source does not, and the name of the one whose annotations are complete."""
    source, annotation = config.data.source, config.data.annotation
    captioner = annotation.captioner
    threads = {"num_threads": config.runtime.num_threads}
    stages: list[Stage] = []
    last = "download"
    if isinstance(source, FilesSource):
        stages.append(
            Stage(
                name="detect",
                version=1,
                entry="diffsensei.data.annotation.detection:detect_panels",
                config={"detector": "data.annotation.detector", "download": "data.download"},
                pace={"batch_size": annotation.detection_batch_size, **threads},
                inputs={"download_dir": last},
                resources=_compute(config),
                identity={"detector": _model_identity("data.annotation.detector", annotation.detector)},
                packages=(*TENSORS, *PIXELS),
            )
        )
        last = "detect"
    if isinstance(source, FilesSource | Manga109Source):
        here = captioner.backend == "transformers"
        stages.append(
            Stage(
                name="caption",
                version=1,
                entry="tasks.captioning:caption_panels",
                config={"captioner": "data.annotation.captioner", "download": "data.download"},
                pace=threads,
                inputs={"annotations": last, "download_dir": "download"},
                resources=_compute(config) if here else Resources(cpus=config.runtime.num_threads),
                identity=(
                    {"captioner": _model_identity("data.annotation.captioner.model", captioner.model)} if here else {}
                ),
                packages=(*TENSORS, *PIXELS) if here else PIXELS,
            )
        )
        last = "caption"
    return stages, last


def library_folder() -> Path:
    """Where downloaded pages are kept beyond runs: in the store, beside its objects."""
    return Settings().store.absolute() / "library"


def _training(config: ExperimentConfig) -> list[Stage]:
    texts = _foundations("text_encoder", "text_encoder_2")
    images = _foundations("clip_image_encoder", "magi_image_encoder")
    resources = _compute(config, processes=config.training.num_processes)
    common = {
        "seed": "seed",
        "num_processes": "training.num_processes",
        "mixed_precision": "training.mixed_precision",
    }
    threads = {"num_threads": config.runtime.num_threads}
    pace = threads | {
        "log_every_steps": config.runtime.log_every_steps,
        "gradient_checkpointing": config.runtime.gradient_checkpointing,
        "compilation": config.runtime.compile,
    }
    data = {"panels": "panels", "features": "features"}
    made_with = {"buckets": "data.buckets", **_foundations("vae")}
    return [
        Stage(
            name="features",
            version=2,
            entry="diffsensei.training.features:encode_features",
            config={
                "buckets": "data.buckets",
                "cache": "data.cache",
                "magi_patches": "model.fidelity.magi_patches",
                **_foundations("vae"),
                **texts,
                **images,
            },
            pace=threads,
            inputs={"panels": "panels"},
            resources=_compute(config),
            identity=_identity(config, "vae", *texts, *images),
            packages=TENSORS,
        ),
        Stage(
            name="pretrain",
            version=1,
            entry="diffsensei.training.stages:pretrain",
            config={
                "stage": "training.pretrain",
                **made_with,
                "unet": "model.unet",
                "unet_weights": "model.foundations.unet",
                "caption_drop_rate": "data.conditioning.caption_drop_rate",
                **texts,
                **common,
            },
            pace=pace,
            inputs=data,
            resources=resources,
            launcher="accelerate",
            identity=_identity(config, "vae", "unet", *texts),
            packages=TENSORS,
        ),
        Stage(
            name="stage1",
            version=1,
            entry="diffsensei.training.stages:stage1",
            config={
                "stage": "training.stage1",
                **made_with,
                "layout": "model.layout",
                "fidelity": "model.fidelity",
                "resampler": "model.resampler",
                "ip_adapter": "model.foundations.ip_adapter",
                "conditioning": "data.conditioning",
                **texts,
                **images,
                **common,
            },
            pace=pace,
            inputs=data | {"pretrain": "pretrain"},
            resources=resources,
            launcher="accelerate",
            identity=_identity(config, "vae", "ip_adapter", *texts, *images),
            packages=TENSORS,
        ),
        Stage(
            name="stage2",
            version=1,
            entry="diffsensei.training.stages:stage2",
            config={
                "stage": "training.stage2",
                **made_with,
                "fidelity": "model.fidelity",
                "adapter": "model.adapter",
                "conditioning": "data.conditioning",
                **_foundations("llm"),
                **texts,
                **images,
                **common,
            },
            pace=pace,
            inputs=data | {"stage1": "stage1"},
            resources=resources,
            launcher="accelerate",
            identity=_identity(config, "vae", "llm", *texts, *images),
            packages=TENSORS,
        ),
    ]


def _benchmark(config: ExperimentConfig) -> list[Stage]:
    judges = config.evaluation.judges
    frozen = Stage(
        name="benchmark",
        version=2,
        entry="diffsensei.evaluation.benchmark:freeze_benchmark",
        config={
            "evaluation": "evaluation",
            "conditioning": "data.conditioning",
            "buckets": "data.buckets",
            "seed": "seed",
        },
        inputs={"panels": "panels"},
        packages=PIXELS,
    )
    generate = [
        Stage(
            name=name,
            version=2,
            entry="diffsensei.inference.generate:generate_panels",
            config={"model": "model", "sampling": "sampling", "evaluation": "evaluation"},
            pace={"num_threads": config.runtime.num_threads},
            literals={"method": method},
            inputs={"benchmark": "benchmark"} | {weights: weights for weights in trained},
            resources=_compute(config),
            identity=_identity(config, "vae", "text_encoder", "text_encoder_2", *_reference_encoders(method)),
            packages=TENSORS,
        )
        for name, (method, trained) in GENERATE.items()
    ]
    score = Stage(
        name="score",
        version=2,
        entry="diffsensei.evaluation.score:score_methods",
        config={"evaluation": "evaluation"},
        inputs={"benchmark": "benchmark"} | {name: name for name in GENERATE},
        resources=_compute(config),
        identity={
            "judges": _digest(
                judges.clip, *judges.further_clip, judges.dino, judges.dialog_detector, judges.fid_features
            )
        },
        packages=("torch", "transformers", "numpy", "scipy", "clean-fid"),
    )
    return [frozen, *generate, score]


def _release(config: ExperimentConfig) -> list[Stage]:
    return [
        Stage(
            name="bundle",
            version=1,
            entry="diffsensei.release.bundle:build_bundle",
            config={
                "release": "release",
                "model": "model",
                "sampling": "sampling",
                "conditioning": "data.conditioning",
            },
            inputs={"stage1": "stage1", "stage2": "stage2", "score": "score"},
            resources=_compute(config),
            identity=_identity(config, "vae", "text_encoder", "text_encoder_2", *_reference_encoders("diffsensei")),
            packages=TENSORS,
        ),
        Stage(
            name="verify",
            version=1,
            entry="diffsensei.release.verify:verify_bundle",
            inputs={"bundle": "bundle"},
            resources=_compute(config),
            packages=TENSORS,
        ),
    ]


def _compute(config: ExperimentConfig, processes: int = 1) -> Resources:
    # bf16 is the GPU presets' precision: on a CPU it only costs time.
    gpus = processes if config.training.mixed_precision == "bf16" else 0
    return Resources(gpus=gpus, cpus=config.runtime.num_threads * processes, memory_gb=16.0, num_processes=processes)


def _foundations(*names: str) -> dict[str, str]:
    """Argument -> dotted path of frozen parts that are handed over under their own names."""
    return {name: f"model.foundations.{name}" for name in names}


def _reference_encoders(method: str) -> tuple[str, ...]:
    if method == "sdxl_t2i":
        return ()
    return ("clip_image_encoder", "magi_image_encoder", *(("llm",) if method == "diffsensei" else ()))


def _identity(config: ExperimentConfig, *names: str) -> dict[str, str]:
    """The content behind the references a stage uses: a path or a name alone does not say what it holds today."""
    return {name: _digest(getattr(config.model.foundations, name)) for name in names}


def _digest(*references: str) -> str:
    from diffsensei.foundations.locations import foundation_digest

    return foundation_digest(references)


def _model_identity(field: str, reference: str) -> str:
    """`_digest` of what one ``field`` of the configuration names, which the error says."""
    try:
        return _digest(reference)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def _retries() -> dict[str, str]:
    """A download is another one once somebody asked to try dead urls again."""
    from diffsensei.data.download.journal import count_retries

    return {"retries": str(count_retries(library_folder() / "journal.jsonl"))}


def _validation_files(config: ExperimentConfig) -> dict[str, str]:
    """Files beside the data that the checks read: what they hold, not where they lie, decides the result."""
    files = {name: getattr(config.data.validation, name) for name in ("waivers", "compare_with")}
    for name, path in files.items():
        if path and not Path(path).is_file():
            raise ValueError(f"data.validation.{name}: expected a JSON file, {path!r} does not exist")
    return {name: file_digest(Path(path)) for name, path in files.items() if path}


def _file_identity(path: str) -> str:
    if not Path(path).is_file():
        raise ValueError(f"data.source.annotations: expected the MangaZero annotation file, {path!r} does not exist")
    return file_digest(Path(path))
