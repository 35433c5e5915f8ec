"""A version: what one run's report says, as data. Whatever compares versions reads ``version.json`` and the items.

    version.json                  `Version`
    downloads/items-<set>.parquet every measurement behind an evaluation set's figures
    *.html, assets/, data/        the pages

A version never changes once it is made: what moves around it (which is newest, what has become stale) is said by the
site that gathers versions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field, ValidationError

from diffsensei.config.base import Config
from diffsensei.evaluation.compared_methods import MAIN
from diffsensei.evaluation.results import MethodInfo, Summary
from reports.origins import StageOrigin

FILE = "version.json"
FORMAT: Literal["diffsensei.report-version/1"] = "diffsensei.report-version/1"


class EvaluationSet(Config):
    """One set of held-out panels with everything measured on it."""

    name: Literal["main", "evaluation"]
    """``evaluation``: the source that is only evaluated on."""
    label: str
    summary: Summary
    score: str
    """The stage that measured."""
    benchmark: str
    """The stage that froze what was asked."""
    drawn_by: dict[str, str]
    """Method -> the stage that drew its panels."""

    @property
    def items(self) -> str:
        """Address of the measurements, from the version's folder."""
        return f"downloads/items-{self.name}.parquet"

    @property
    def galleries(self) -> str:
        """Before the addresses of its galleries, from the version's folder, in which those of the main set lie."""
        return "" if self.name == "main" else f"{self.name}/"


class Version(Config):
    """``version.json``."""

    format: Literal["diffsensei.report-version/1"] = FORMAT
    name: str
    version: str
    """Name and number of the release that the run was for; several versions of a report may share them."""
    preset: str
    smoke: bool
    """Drawn pages and small models: the figures say whether the mechanisms work."""
    config: dict[str, Any]
    config_digest: str
    verification: str
    """What became of the release bundle."""
    sets: tuple[EvaluationSet, ...]
    stages: dict[str, StageOrigin]
    pictures: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Panel (`EvaluationSet.galleries` and its id) -> method -> address of what it drew, from the version's folder."""

    @property
    def made(self) -> str:
        """When the last of the results came to be: ISO 8601, UTC; empty where no stage says."""
        return max((origin.created for origin in self.stages.values()), default="")

    @property
    def commits(self) -> tuple[str, ...]:
        """Revisions of the source that its stages ran with."""
        found = {origin.git.text for origin in self.stages.values() if origin.git.commit}
        return tuple(sorted(found))

    def set(self, name: str) -> EvaluationSet | None:
        """The evaluation set of that name, if the run had it."""
        return next((found for found in self.sets if found.name == name), None)

    def picture(self, found: EvaluationSet, panel_id: str, method: str) -> str:
        """Address, from the version's folder, of what ``method`` drew with the first seed; "" where it is not kept."""
        return self.pictures.get(f"{found.galleries}{panel_id}", {}).get(method, "")

    def upstream(self, stage: str) -> Iterator[str]:
        """``stage`` and everything its result rests on, nearest first."""
        by_digest = {origin.digest: name for name, origin in reversed(self.stages.items())}

        def source(argument: str, digest: str) -> str:
            # Two stages may have the same result; an argument is mostly called after its stage.
            named = self.stages.get(argument)
            return argument if named is not None and named.digest == digest else by_digest.get(digest, "")

        seen: dict[str, None] = {}
        waiting = [stage]
        while waiting:
            name = waiting.pop(0)
            if name in self.stages and name not in seen:
                seen[name] = None
                waiting += [source(*given) for given in self.stages[name].inputs.items()]
        return iter(seen)

    def flat_config(self) -> dict[str, Any]:
        """Every leaf of the configuration by its dotted path."""

        def walk(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
            if isinstance(node, dict):
                for key, child in node.items():
                    yield from walk(f"{prefix}.{key}" if prefix else key, child)
            else:
                yield prefix, node

        return dict(walk("", self.config))


def main_method(summary: Summary) -> MethodInfo | None:
    """The method that the others are compared with; where it is missing, the last of the table."""
    methods = [info for info in summary.methods if info.role == "method"]
    return next((info for info in methods if info.name == MAIN), methods[-1] if methods else None)


def write_version(version: Version, folder: Path) -> None:
    """Write ``folder/version.json``."""
    (folder / FILE).write_text(version.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_version(folder: Path) -> Version:
    """The version in ``folder``. Raises ValueError where there is none, or one of another format."""
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no version of a report: {FILE} is missing; make one with this program")
    try:
        return Version.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path} is of another format ({where}: {first['msg']}); make the report again") from None


def read_items(folder: Path, found: EvaluationSet) -> pd.DataFrame:
    """Every measurement of an evaluation set, with the columns of `ITEM_COLUMNS`."""
    return pd.read_parquet(folder / found.items)
