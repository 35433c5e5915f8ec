"""The folder of one stage under one key: what was done, who works on it, what survives a crash."""

import logging
import os
import shutil
import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from infra.files import RecordDamaged, read_json, write_json
from infra.jobs.attempt import Attempt
from infra.stage import Ingredients

_log = logging.getLogger(__name__)


class Done(BaseModel):
    """``done.json``: the stage is finished under this key, and where its result is."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    key: str
    kind: str
    digest: str
    ingredients: Ingredients
    attempts: int
    wall_s: float
    """Seconds its jobs ran, all attempts together."""
    finished: str
    """ISO 8601, UTC."""


class StageFolder:
    """``stages/<name>/<key>``. ``workspace`` outlives attempts; each attempt has a fresh ``output``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.parent.name
        self.key = path.name
        self.done_path = path / "done.json"
        self.claim_path = path / "claim"
        self.workspace = path / "workspace"
        self.progress_path = self.workspace / "progress.json"
        self.attempts_path = path / "attempts"

    def done(self) -> Done | None:
        """The record of completion, whether or not the result is still whole (`Store.finished` checks that).

        A damaged record counts as none, and is told of: the stage is done again, and what was made of its result stays.
        """
        try:
            value = read_json(self.done_path)
        except RecordDamaged as trouble:
            _log.error("%s is taken for not done: %s", self.name, trouble)
            return None
        return None if value is None else Done.model_validate(value)

    def record_done(self, done: Done) -> None:
        """Declare the stage finished; its result must be published already."""
        write_json(self.done_path, done.model_dump(mode="json"))

    def attempts(self) -> list[Attempt]:
        """All attempts, oldest first."""
        if not self.attempts_path.is_dir():
            return []
        return [Attempt(path) for path in sorted(self.attempts_path.iterdir()) if path.name.isdigit()]

    def next_attempt_path(self) -> Path:
        """Where the next attempt belongs. Only the holder of the claim may create it."""
        attempts = self.attempts()
        number = attempts[-1].number + 1 if attempts else 1
        return self.attempts_path / f"{number:04d}"

    def unfinished(self) -> Attempt | None:
        """The last attempt of work that is not done, if there is any."""
        attempts = self.attempts()
        return attempts[-1] if attempts and self.done() is None else None

    def clean(self) -> None:
        """Drop what only a further attempt would need; logs and records stay."""
        for folder in (self.workspace, *(attempt.output for attempt in self.attempts())):
            if folder.exists():
                aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
                os.rename(folder, aside)
                shutil.rmtree(aside)
