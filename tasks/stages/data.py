"""From a source to panels: bring annotations and images, annotate what lacks it, validate, cut.

The same chain serves the source that is trained on and the one that is only evaluated on; the second one's stages have
a prefix.
"""

from pathlib import Path

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import DataSource, FilesSource, Manga109Source, MangaZeroSource, SyntheticSource
from infra.settings import Settings
from infra.stage import Json, Resources, Stage
from tasks.stages.parts import (
    PIXELS,
    TENSORS,
    compute,
    dask,
    file_identity,
    foundations,
    identity,
    model_identity,
    threads,
)

EVALUATION = "evaluation_"
"""Prefix of the stages of ``data.evaluation_source``."""


def data_stages(config: ExperimentConfig) -> list[Stage]:
    """The chain of ``data.source`` and, where there is one, that of ``data.evaluation_source``.

    Raises ValueError where a file or a model that the configuration names does not exist.
    """
    stages = _chain(config, config.data.source, "data.source", "")
    if config.data.evaluation_source is not None:
        stages += _chain(config, config.data.evaluation_source, "data.evaluation_source", EVALUATION)
    return stages


def library_folder() -> Path:
    """Where downloaded pages are kept beyond runs: in the store, beside its objects."""
    return Settings().store.absolute() / "library"


def tombstones_folder() -> Path:
    """Where it is written which pages were taken down: in the store, beside its objects."""
    return Settings().store.absolute() / "tombstones"


def _taken_down() -> dict[str, str]:
    """What the validated pages may not hold; nothing where nothing was taken down."""
    from diffsensei.data.tombstones import read_tombstones

    digest = read_tombstones(tombstones_folder()).digest()
    return {"tombstones": digest} if digest else {}


def _chain(config: ExperimentConfig, source: DataSource, path: str, prefix: str) -> list[Stage]:
    annotations = Stage(
        name=f"{prefix}annotations",
        version=2,
        entry="diffsensei.data.sources.annotations:collect_annotations",
        config={"source": path},
        identity=_source_identity(source, path),
        packages=(*PIXELS, "opencv-python-headless"),
    )
    images = Stage(
        name=f"{prefix}download",
        version=3,
        entry=_brings_images(source),
        config={"source": path, "download": "data.download"},
        pace=_download_pace(source),
        inputs={"annotations": annotations.name},
        identity=_image_identity(source, path),
        packages=(*PIXELS, "opencv-python-headless", "pypdfium2"),
    )
    stages = [annotations, images]
    stages += _annotation(config, source, images.name, prefix)
    validated = Stage(
        name=f"{prefix}validate",
        version=3,
        entry="diffsensei.data.validation.pages:validate_pages",
        config={
            "validation": "data.validation",
            "download": "data.download",
            "buckets": "data.buckets",
            **foundations("text_encoder"),
            **({} if prefix else {"compare_with": "data.validation.compare_with"}),
        },
        pace={"tombstones": str(tombstones_folder())},
        inputs={"annotations": stages[-1].name, "download_dir": images.name},
        resources=dask(config),
        identity=identity(config, "text_encoder") | _validation_files(config, prefix) | _taken_down(),
        packages=(*PIXELS, "great-expectations", "transformers"),
    )
    return [*stages, validated, _panels(config, source, validated.name, prefix)]


def _panels(config: ExperimentConfig, source: DataSource, validated: str, prefix: str) -> Stage:
    """Both sets of panels; of a source that may only be evaluated on, all panels in one, guarded against training."""
    only_evaluated = isinstance(source, Manga109Source)
    trained = {"trained_validated": "validate", "trained_split": "panels"} if prefix else {}
    return Stage(
        name=f"{prefix}panels",
        version=3 if only_evaluated else 2,
        entry=f"diffsensei.data.panels.cutting:{'cut_evaluation_panels' if only_evaluated else 'cut_panels'}",
        config={} if only_evaluated else {"split": "data.split"},
        inputs={"validated": validated, **trained},
        resources=dask(config),
        packages=PIXELS,
    )


def _annotation(config: ExperimentConfig, source: DataSource, images: str, prefix: str) -> list[Stage]:
    """The stages that annotate what the source does not: boxes, captions, and what people corrected."""
    annotation = config.data.annotation
    stages: list[Stage] = []
    last = images
    if isinstance(source, FilesSource):
        stages.append(
            Stage(
                name=f"{prefix}detect",
                version=1,
                entry="diffsensei.data.annotation.detection:detect_panels",
                config={"detector": "data.annotation.detector", "download": "data.download"},
                pace={"batch_size": annotation.detection_batch_size, **threads(config)},
                inputs={"download_dir": images},
                resources=compute(config),
                identity={"detector": model_identity("data.annotation.detector", annotation.detector)},
                packages=(*TENSORS, *PIXELS),
            )
        )
        last = stages[-1].name
    if annotation.edits and not prefix:
        # Before captions: a frame that people add or move is captioned as it then is.
        stages.append(
            Stage(
                name="refine",
                version=1,
                entry="diffsensei.data.annotation.refinement:refine_annotations",
                config={"edits": "data.annotation.edits"},
                inputs={"annotations": last},
                identity={path: file_identity("data.annotation.edits", path) for path in annotation.edits},
                packages=PIXELS,
            )
        )
        last = stages[-1].name
    if isinstance(source, FilesSource | Manga109Source):
        captioner = annotation.captioner
        here = captioner.backend == "transformers"
        model = {"captioner": model_identity("data.annotation.captioner.model", captioner.model)} if here else {}
        stages.append(
            Stage(
                name=f"{prefix}caption",
                version=1,
                entry="tasks.captioning:caption_panels",
                config={"captioner": "data.annotation.captioner", "download": "data.download"},
                pace=threads(config),
                inputs={"annotations": last, "download_dir": images},
                resources=compute(config) if here else Resources(cpus=config.runtime.num_threads),
                identity=model,
                packages=(*TENSORS, *PIXELS) if here else PIXELS,
            )
        )
    return stages


def _brings_images(source: DataSource) -> str:
    if isinstance(source, SyntheticSource | MangaZeroSource):
        return "diffsensei.data.download.pages:download_pages"
    return "diffsensei.data.sources.images:import_images"


def _download_pace(source: DataSource) -> dict[str, Json]:
    if isinstance(source, SyntheticSource | MangaZeroSource):
        return {"library": str(library_folder()), "limits": str(Settings().limits.absolute())}
    return {}


def _source_identity(source: DataSource, path: str) -> dict[str, str]:
    """What the files hold that annotations are read from."""
    if isinstance(source, MangaZeroSource):
        return {"file": file_identity(f"{path}.annotations", source.annotations)}
    if isinstance(source, Manga109Source):
        return {"files": _fingerprint(f"{path}.root", source.root)}
    return {"files": _fingerprint(f"{path}.paths", *source.paths)} if isinstance(source, FilesSource) else {}


def _image_identity(source: DataSource, path: str) -> dict[str, str]:
    """What the files hold that images are read from; and a download is another one once somebody asked to try dead
    urls again."""
    if not isinstance(source, MangaZeroSource):
        return {name: value for name, value in _source_identity(source, path).items() if name == "files"}
    from diffsensei.data.download.journal import count_retries

    found = {"retries": str(count_retries(library_folder() / "journal.jsonl"))}
    if source.images:
        found["files"] = _fingerprint(f"{path}.images", *source.images)
    if source.hash_list:
        found["hash_list"] = file_identity(f"{path}.hash_list", source.hash_list)
    return found


def _fingerprint(field: str, *paths: str) -> str:
    """What the files hold that ``field`` names. Raises ValueError, saying the field, where one does not exist."""
    from diffsensei.data.sources.fingerprint import fingerprint

    try:
        return fingerprint(map(Path, paths))
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def _validation_files(config: ExperimentConfig, prefix: str) -> dict[str, str]:
    """Files beside the data that the checks read: what they hold, not where they lie, decides the result."""
    names = ("waivers",) if prefix else ("waivers", "compare_with")
    files = {name: getattr(config.data.validation, name) for name in names}
    return {name: file_identity(f"data.validation.{name}", path) for name, path in files.items() if path}
