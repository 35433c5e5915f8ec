"""What a run would do before it does it: per stage reuse, resume, adopt or run, and exactly why.

`make_plan` only reads. Where the result of an upstream stage is not known yet, neither is the key: the row then says
which stages it comes ``after``, and whether anything of its own changed or it runs only if they give another result.
"""

import json
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import BaseModel, ConfigDict

from infra.jobs.attempt import Attempt
from infra.stage import Action, Ingredients, Json, Resources, Stage, ingredients
from infra.stage_folder import Done
from infra.store import ObjectDamaged, ObjectMissing, ObjectRef, Store


class PlanRow(BaseModel):
    """One stage of the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    stage: str
    action: Action
    reasons: tuple[str, ...]
    key: str | None
    """None while an input is not known."""
    after: tuple[str, ...] = ()
    """Stages whose results must be known first."""
    result: ObjectRef | None = None
    """For reuse: the object."""
    expected_s: float | None = None
    """Wall seconds of its most recent run under any key."""
    resources: Resources


class Plan(BaseModel):
    """Rows in an order in which the stages can run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: tuple[PlanRow, ...]

    def row(self, stage: str) -> PlanRow:
        """The row of a stage. Raises KeyError."""
        for row in self.rows:
            if row.stage == stage:
                return row
        raise KeyError(stage)

    @property
    def work(self) -> tuple[PlanRow, ...]:
        """Rows that are not plain reuse."""
        return tuple(row for row in self.rows if row.action is not Action.REUSE)

    @property
    def expected_s(self) -> float:
        """Wall seconds of the work, one stage after the other, as far as past runs tell."""
        return sum(row.expected_s or 0.0 for row in self.work)

    @property
    def expected_gpu_hours(self) -> float:
        """GPU-hours of the work, as far as past runs tell."""
        return sum((row.expected_s or 0.0) * row.resources.gpus for row in self.work) / 3600


def in_order(stages: Sequence[Stage]) -> list[Stage]:
    """``stages`` with every stage after those it takes input from.

    Raises ValueError for an unknown input, a name used twice or a circle.
    """
    by_name = {stage.name: stage for stage in stages}
    if len(by_name) < len(stages):
        raise ValueError("two stages have one name; names must differ")
    for stage in stages:
        for missing in sorted(set(stage.inputs.values()) - set(by_name)):
            raise ValueError(f"stage {stage.name} takes the result of {missing!r}, known stages: {', '.join(by_name)}")
    try:
        order = list(TopologicalSorter({s.name: sorted(set(s.inputs.values())) for s in stages}).static_order())
    except CycleError as error:
        raise ValueError(f"stages depend on each other in a circle: {' -> '.join(error.args[1])}") from None
    return [by_name[name] for name in order]


def make_plan(stages: Sequence[Stage], config: Json, store: Store) -> Plan:
    """The plan for ``stages`` under ``config`` (nested JSON) given what ``store`` holds.

    Raises ValueError for a configuration path or an input that does not exist.
    """
    known: dict[str, str] = {}
    rows = []
    for stage in in_order(stages):
        row = _row(stage, stage.values(config), known, store)
        if row.result is not None:
            known[stage.name] = row.result.digest
        rows.append(row)
    return Plan(rows=tuple(rows))


def _row(stage: Stage, values: Mapping[str, Json], known: Mapping[str, str], store: Store) -> PlanRow:
    last = store.last_done(stage.name)
    digests = {argument: known[source] for argument, source in stage.inputs.items() if source in known}
    after = tuple(dict.fromkeys(source for source in stage.inputs.values() if source not in known))
    now = ingredients(stage, values, digests)
    expected_s = last.wall_s if last else None

    def row(action: Action, reasons: Sequence[str], result: ObjectRef | None = None) -> PlanRow:
        return PlanRow(
            stage=stage.name,
            action=action,
            reasons=tuple(reasons),
            key=None if after else now.key(),
            after=after,
            result=result,
            expected_s=expected_s,
            resources=stage.resources,
        )

    changes = _changes(last, now, stage, after)
    if after:
        names = ", ".join(after)
        own = changes or ([f"runs unless {names} gives the same result"] if last else ["never ran"])
        return row(Action.RUN, [f"after {names}", *own])
    folder = store.stage_folder(stage.name, now.key())
    try:
        result = store.finished(folder)
    except (ObjectMissing, ObjectDamaged) as error:
        return row(Action.RUN, [f"stored result unusable: {error}"])
    if result is not None:
        return row(Action.REUSE, ["nothing changed"], result)
    attempt = folder.unfinished()
    reasons = changes or ["never ran"]
    if attempt is None:
        return row(Action.RUN, reasons)
    waiting = attempt.submitted() if attempt.is_waiting() else None
    if waiting is not None:
        return row(Action.ADOPT, [f"attempt {attempt.number} waits as {waiting.backend} job {waiting.id}", *reasons])
    if attempt.is_live():
        return row(Action.ADOPT, [f"attempt {attempt.number} is running", *reasons])
    return row(Action.RESUME, [_stopped(attempt), *reasons])


def _stopped(attempt: Attempt) -> str:
    ended = attempt.exit()
    how = ended.state.value if ended else "lost"
    return f"attempt {attempt.number} ended {how}; goes on from its workspace"


def _changes(last: Done | None, now: Ingredients, stage: Stage, after: Sequence[str]) -> list[str]:
    """What differs from the most recent completion; empty if nothing does or there is none."""
    if last is None:
        return []
    old = last.ingredients
    found = []
    if old.version != now.version:
        found.append(f"stage version {old.version} -> {now.version}")
    if old.entry != now.entry:
        found.append(f"entry {old.entry} -> {now.entry}")
    found += _differences("", _leaves(old.config), _leaves(now.config))
    found += _differences("argument ", old.literals, now.literals)
    found += _differences("package ", old.packages, now.packages)
    for name in sorted(old.identity.keys() | now.identity.keys()):
        if old.identity.get(name) != now.identity.get(name):
            found.append(f"identity {name} changed")
    for argument in sorted(old.inputs.keys() | stage.inputs.keys()):
        source = stage.inputs.get(argument)
        if source is None:
            found.append(f"input {argument} removed")
        elif argument not in old.inputs:
            found.append(f"input {argument} added")
        elif source not in after and old.inputs[argument] != now.inputs[argument]:
            found.append(f"input {source} changed")
    return found


def _differences(prefix: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> list[str]:
    found = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            found.append(f"{prefix}{name} added ({_short(new[name])})")
        elif name not in new:
            found.append(f"{prefix}{name} removed")
        elif old[name] != new[name]:
            found.append(f"{prefix}{name} {_short(old[name])} -> {_short(new[name])}")
    return found


def _leaves(config: Mapping[str, Json]) -> dict[str, Json]:
    """Every leaf below the slices by its full dotted path."""
    leaves: dict[str, Json] = {}

    def walk(path: str, node: Json) -> None:
        if isinstance(node, Mapping) and node:
            for name, child in node.items():
                walk(f"{path}.{name}" if path else name, child)
        else:
            leaves[path] = node

    for path, node in config.items():
        walk(path, node)
    return leaves


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 48 else f"{text[:45]}..."
