"""Where the numbers come from: configuration, stages, machine, software, and the command that repeats it all."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsensei.config import PRESETS, ExperimentConfig, config_digest, flatten
from reports.origins import Machine, Origins, read_origins
from reports.results_table import ABSENT

KEY_PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "numpy",
    "pandas",
    "pillow",
    "scipy",
    "prefect",
    "dask",
    "great_expectations",
    "pydantic",
)
"""Shown first; the others follow in a list to open."""


@dataclass(frozen=True)
class Setting:
    """One field of the configuration; ``preset_value`` is set where it was overridden."""

    path: str
    value: str
    preset_value: str | None


@dataclass(frozen=True)
class SettingGroup:
    name: str
    settings: tuple[Setting, ...]

    @property
    def num_overridden(self) -> int:
        return sum(setting.preset_value is not None for setting in self.settings)


@dataclass(frozen=True)
class StageLine:
    name: str
    key: str
    digest: str
    attempt: int
    wall: str
    size: str
    created: str
    share: float
    """Of the longest stage, 0 to 1, for the bar."""


@dataclass(frozen=True)
class Provenance:
    digest: str
    overrides: tuple[str, ...]
    command: str
    groups: tuple[SettingGroup, ...]
    stages: tuple[StageLine, ...]
    total: str
    machines: tuple[tuple[tuple[str, str], ...], ...]
    packages: tuple[tuple[str, str], ...]
    other_packages: tuple[tuple[str, str], ...]
    sources: tuple[str, ...]


def read_provenance(config: ExperimentConfig, folder: Path) -> Provenance:
    """What ``folder/provenance.json`` and the configuration tell. Raises ValueError where the file is missing."""
    origins = read_origins(folder)
    overrides = preset_overrides(config)
    machines = list(dict.fromkeys(_machine(o.env) for o in origins.stages.values() if o.env is not None))
    packages: dict[str, str] = {}
    for origin in origins.stages.values():
        packages |= origin.env.packages if origin.env is not None else {}
    names = sorted(packages, key=str.lower)
    return Provenance(
        digest=config_digest(config),
        overrides=tuple(f"{path}={_compact(value)}" for path, (value, _) in overrides.items()),
        command=repeat_command(config, "full-pipeline"),
        groups=_groups(config, overrides),
        stages=_stage_lines(origins),
        total=duration_text(sum(o.job.wall_s for o in origins.stages.values() if o.job is not None)),
        machines=tuple(machines),
        packages=tuple((name, packages[name]) for name in names if name.lower() in KEY_PACKAGES),
        other_packages=tuple((name, packages[name]) for name in names if name.lower() not in KEY_PACKAGES),
        sources=tuple(sorted({origin.git.text for origin in origins.stages.values()})),
    )


def preset_overrides(config: ExperimentConfig) -> dict[str, tuple[Any, Any]]:
    """Path to (value, preset's value) where ``config`` differs from the preset of its name; empty without one."""
    if config.name not in PRESETS:
        return {}
    given, preset = flatten(config), flatten(PRESETS[config.name]())
    return {path: (value, preset.get(path)) for path, value in given.items() if preset.get(path) != value}


def repeat_command(config: ExperimentConfig, flow: str) -> str:
    """The command line that runs ``flow`` on this experiment again."""
    words = ["diffsensei", "run", flow, "--preset", config.name]
    for path, (value, _) in preset_overrides(config).items():
        words += ["--set", f"{path}={_compact(value)}"]
    return shlex.join(words)


def duration_text(seconds: float) -> str:
    """``42 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size_text(num_bytes: int) -> str:
    """Bytes in the unit that keeps the number short."""
    size = float(num_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _groups(config: ExperimentConfig, overrides: dict[str, tuple[Any, Any]]) -> tuple[SettingGroup, ...]:
    grouped: dict[str, list[Setting]] = {}
    for path, value in flatten(config).items():
        was = _compact(overrides[path][1]) if path in overrides else None
        top = path.partition(".")[0] if "." in path else "experiment"
        grouped.setdefault(top, []).append(Setting(path, _compact(value), was))
    return tuple(SettingGroup(name, tuple(settings)) for name, settings in grouped.items())


def _stage_lines(origins: Origins) -> tuple[StageLine, ...]:
    longest = max((o.job.wall_s for o in origins.stages.values() if o.job is not None), default=0.0)
    return tuple(
        StageLine(
            name=name,
            key=origin.stage.key if origin.stage else "",
            digest=origin.digest,
            attempt=origin.stage.attempt if origin.stage else 1,
            wall=duration_text(origin.job.wall_s) if origin.job else ABSENT,
            size=f"{origin.num_files} files, {size_text(origin.num_bytes)}",
            created=origin.created[:19].replace("T", " "),
            share=origin.job.wall_s / longest if origin.job and longest else 0.0,
        )
        for name, origin in origins.stages.items()
    )


def _machine(env: Machine) -> tuple[tuple[str, str], ...]:
    return (
        ("Host", env.host),
        ("Processor", f"{env.cpu}, {env.num_cores} cores, {env.num_threads} threads used"),
        ("GPUs", ", ".join(env.gpus) or "none"),
        ("Memory", size_text(env.memory_bytes)),
        ("System", env.platform),
        ("Python", env.python),
    )


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
