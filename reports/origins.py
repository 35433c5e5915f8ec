"""Where each result of a run came from: the records of ``provenance.json``, as far as a report shows them."""

from pathlib import Path

from pydantic import BaseModel


class StageIdentity(BaseModel):
    name: str = ""
    version: int = 0
    key: str = ""
    attempt: int = 1


class Job(BaseModel):
    backend: str = ""
    started: str = ""
    wall_s: float = 0.0
    max_rss_bytes: int | None = None


class Machine(BaseModel):
    python: str = ""
    platform: str = ""
    host: str = ""
    cpu: str = ""
    num_cores: int = 0
    memory_bytes: int = 0
    num_threads: int = 0
    gpus: tuple[str, ...] = ()
    packages: dict[str, str] = {}


class Source(BaseModel):
    commit: str | None = None
    dirty: bool = False

    @property
    def text(self) -> str:
        """The revision, and whether files differed from it."""
        if self.commit is None:
            return "outside a repository"
        return f"{self.commit[:12]}{', with local changes' if self.dirty else ''}"


class StageOrigin(BaseModel):
    """One result, as ``provenance.json`` describes it."""

    digest: str
    inputs: dict[str, str] = {}
    """Argument -> content digest of what it was given."""
    stage: StageIdentity | None = None
    job: Job | None = None
    env: Machine | None = None
    git: Source = Source()
    num_files: int = 0
    num_bytes: int = 0
    created: str = ""


class Origins(BaseModel):
    config_digest: str = ""
    stages: dict[str, StageOrigin] = {}


def read_origins(folder: Path) -> Origins:
    """What ``folder/provenance.json`` says. Raises ValueError where it is missing."""
    path = folder / "provenance.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no provenance.json; the caller of the report writes it")
    return Origins.model_validate_json(path.read_text())
