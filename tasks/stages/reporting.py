"""Where the numbers come from, and the report; it shows ablations and a study where there are any."""

from collections.abc import Sequence
from pathlib import Path

from diffsensei.config import ExperimentConfig
from infra.digest import json_digest
from infra.settings import Settings
from infra.stage import Stage
from infra.store import ObjectRef, Store
from tasks.stages.parts import file_identity

ABLATIONS = "ablations"
"""Channel of the references to ablations, with one name a configuration."""
SITE, PICTURES = "site", "assets"
"""Folders: of the site in a store, and in the site of the pictures that its versions share."""
STUDY_FILES = ("study.json", "power.json")

_CHANGES_NO_FIGURE = {"runtime", "jobs", "gate", "release", "study", "report"}


def reporting_stages(config: ExperimentConfig, names: Sequence[str]) -> list[Stage]:
    """Provenance and report over the results of the stages ``names``.

    Raises ValueError where ``report.study`` names a folder without a study.
    """
    ablations = found_ablations(config, Store(Settings().store))
    provenance = Stage(
        name="provenance",
        version=1,
        entry="tasks.lineage:write_provenance",
        config={"config": ""},
        inputs={name: name for name in names},
    )
    report = Stage(
        name="report",
        version=5,
        entry="reports.site:build_report",
        config={"config": ""},
        # Where they lie changes nothing; what they hold is in the identity.
        pace={
            "ablations": None if ablations is None else str(ablations.path),
            "study": str(Path(config.report.study).absolute()) if config.report.study else None,
            "encoded": str(shared_pictures()),
        },
        inputs={name: name for name in [*names, provenance.name]},
        identity=({} if ablations is None else {"ablations": ablations.digest}) | _study(config.report.study),
        packages=("jinja2", "matplotlib", "pillow"),
    )
    return [provenance, report]


def reference_name(config: ExperimentConfig) -> str:
    """The name under which the ablations of ``config`` are found again, whatever its speed or release."""
    return f"{config.name}-{json_digest(config.model_dump(mode='json', exclude=_CHANGES_NO_FIGURE))[:16]}"


def shared_pictures() -> Path:
    """Where the site keeps the pictures of all its versions: a further report links what it has in common with them."""
    return Settings().store.absolute() / SITE / PICTURES


def found_ablations(config: ExperimentConfig, store: Store) -> ObjectRef | None:
    """The newest ablations of ``config`` in ``store``, if they were run."""
    ref = store.refs.read(ABLATIONS, reference_name(config))
    found = store.object(ref.kind, ref.digest) if ref else None
    return found if found is not None and (found.path / "ablations.json").is_file() else None


def _study(folder: str) -> dict[str, str]:
    if not folder:
        return {}
    if not (Path(folder) / STUDY_FILES[0]).is_file():
        raise ValueError(
            f"report.study: expected the folder that `diffsensei study analyse` wrote, {folder!r} has no study.json"
        )
    there = [name for name in STUDY_FILES if (Path(folder) / name).is_file()]
    return {name: file_identity("report.study", str(Path(folder) / name)) for name in there}
