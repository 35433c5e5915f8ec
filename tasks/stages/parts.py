"""What the declarations of stages share: resources, packages, and the content behind names."""

from pathlib import Path

from diffsensei.config import ExperimentConfig
from infra.dask_cluster import SlurmWorkers
from infra.digest import file_digest
from infra.stage import Json, Resources

PIXELS = ("numpy", "pillow")
TENSORS = ("torch", "diffusers", "transformers", "peft")

SETTING = {
    "seed": "seed",
    "num_processes": "training.num_processes",
    "mixed_precision": "training.mixed_precision",
    "bucket_draw": "training.bucket_draw",
    "buckets": "data.buckets",
}
"""Configuration that every training is given beside its recipe (`diffsensei.training.stage_run.Setting`)."""

DASK_WORKER_GB = 2.0


def compute(config: ExperimentConfig, processes: int = 1) -> Resources:
    """A job of networks."""
    # bf16 is the GPU presets' precision: on a CPU it only costs time.
    gpus = processes if config.training.mixed_precision == "bf16" else 0
    return Resources(
        gpus=gpus,
        cpus=config.runtime.num_threads * processes,
        memory_gb=config.jobs.memory_gb_per_process * processes,
        num_processes=processes,
        exclusive=True,
    )


def dask(config: ExperimentConfig) -> Resources:
    """A job that shares its work among Dask workers: here, or as jobs of Slurm."""
    workers = config.runtime.dask_workers
    if config.runtime.dask == "local":
        return Resources(cpus=workers, memory_gb=DASK_WORKER_GB * workers, dask_workers=workers)
    slurm = SlurmWorkers.model_validate(config.runtime.dask.model_dump())
    return Resources(cpus=1, dask_workers=workers, dask_slurm=slurm)


def threads(config: ExperimentConfig) -> dict[str, Json]:
    """The pace of a job that computes by itself."""
    return {"num_threads": config.runtime.num_threads}


def pace(config: ExperimentConfig) -> dict[str, Json]:
    """The pace of a training, or of a method that draws."""
    return {"runtime": config.runtime.model_dump(mode="json")}


def foundations(*names: str) -> dict[str, str]:
    """Argument -> dotted path of frozen parts that are handed over under their own names."""
    return {name: f"model.foundations.{name}" for name in names}


def identity(config: ExperimentConfig, *names: str) -> dict[str, str]:
    """The content behind the references a stage uses: a path or a name alone does not say what it holds today."""
    return {name: digest(getattr(config.model.foundations, name)) for name in names}


def digest(*references: str) -> str:
    """sha256 of frozen parts. Raises ValueError where one does not exist."""
    from diffsensei.foundations.locations import foundation_digest

    return foundation_digest(references)


def model_identity(field: str, reference: str) -> str:
    """`digest` of what one ``field`` of the configuration names, which the error says."""
    try:
        return digest(reference)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def judge_identity(*references: str) -> str:
    """`digest` of encoders that judge; a file that is not there counts by its name.

    Its metrics are then shown as not computed, and computed once it is there: absence is a state, no error.
    """
    absent = [name for name in references if name.endswith(".pt") and not Path(name).expanduser().is_file()]
    return digest(*(name for name in references if name not in absent)) + "".join(f" without {name}" for name in absent)


def file_identity(field: str, path: str) -> str:
    """sha256 of the file that ``field`` names. Raises ValueError where there is none."""
    if not Path(path).is_file():
        raise ValueError(f"{field}: expected a file, {path!r} does not exist")
    return file_digest(Path(path))
