"""The birth certificate of a stored object: what it holds, what made it, from what, where and when."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from infra.digest import FileEntry

SCHEMA = "diffsensei.manifest/1"


def utc_now() -> str:
    """Now, as ISO 8601 in UTC with microseconds (so that text order is time order)."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, populate_by_name=True)


class StageRecord(_Record):
    """Which stage made the object, under which key, in which attempt (1 = the first)."""

    name: str
    version: int
    key: str
    attempt: int


class Environment(_Record):
    """The machine and the software that the job ran on."""

    python: str
    platform: str
    host: str
    cpu: str
    num_cores: int
    """Cores this process may use."""
    memory_bytes: int
    num_threads: int
    """Threads a numeric library may use (OMP_NUM_THREADS, else the cores)."""
    gpus: tuple[str, ...] = ()
    """Names of the GPUs the driver shows."""
    packages: dict[str, str] = {}
    """Installed distributions and their versions."""


class JobRecord(_Record):
    """The job that wrote the files."""

    backend: str
    id: str
    chain: tuple[str, ...] = ()
    """The jobs of all attempts, this one last."""
    started: str
    """ISO 8601, UTC."""
    wall_s: float
    gpu_s: float = 0.0
    """GPU-seconds of the whole chain: wall time times the GPUs that were allotted."""
    exit: int
    max_rss_bytes: int | None = None


class GitState(_Record):
    """The source the job ran from; ``commit`` is None outside a repository."""

    commit: str | None = None
    dirty: bool = False


class Origin(_Record):
    """Everything a manifest says beyond the content itself. Empty for objects that no stage made."""

    stage: StageRecord | None = None
    inputs: dict[str, str] = {}
    """Argument name -> digest of the object that was given."""
    config: dict[str, Any] = {}
    """Dotted path -> value."""
    env: Environment | None = None
    job: JobRecord | None = None
    git: GitState = GitState()


class Manifest(Origin):
    """``manifest.json`` beside the files of an object. Writing it commits the object."""

    schema_id: str = Field(default=SCHEMA, alias="schema")
    kind: str
    digest: str
    """Content digest: paths, sizes, bytes; without ``logs/``."""
    files: tuple[FileEntry, ...]
    created: str = Field(default_factory=utc_now)
