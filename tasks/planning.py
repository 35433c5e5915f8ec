"""The plan for some target stages and everything they depend on, as rows for a table."""

from collections.abc import Sequence

from diffsensei.config import ExperimentConfig
from infra.plan import Plan, PlanRow, make_plan
from infra.stage import Stage
from infra.store import Store
from tasks.stages import pipeline_stages
from tasks.stages.data import EVALUATION
from tasks.terminal import clock

NAMED_BEFORE = 3
"""Stages that a row comes after which are named; the others are counted."""
NAMED_CHANGES = 5
"""Changes likewise."""


def needed_for(targets: Sequence[str], stages: Sequence[Stage]) -> list[Stage]:
    """The ``targets`` and everything upstream of them, in the order of ``stages``; where a target has a twin for the
    source that is only evaluated on, that too.

    Raises ValueError for an unknown target, listing the known ones.
    """
    by_name = {stage.name: stage for stage in stages}
    needed: set[str] = set()
    waiting = [*targets, *(name for name in (f"{EVALUATION}{target}" for target in targets) if name in by_name)]
    while waiting:
        name = waiting.pop()
        if name not in by_name:
            raise ValueError(f"unknown stage {name!r}; known: {', '.join(by_name)}")
        if name not in needed:
            needed.add(name)
            waiting += by_name[name].inputs.values()
    return [stage for stage in stages if stage.name in needed]


def plan_targets(config: ExperimentConfig, targets: Sequence[str], store: Store) -> Plan:
    """The plan for ``targets`` under ``config`` given what ``store`` holds. Nothing is started."""
    return make_plan(needed_for(targets, pipeline_stages(config)), config.keyed(), store)


def table_rows(plan: Plan) -> list[dict[str, str]]:
    """The rows of a plan as text: stage, action, time, why."""
    return [
        {"stage": row.stage, "action": row.action.value, "time": _time(row), "why": "; ".join(_why(row))}
        for row in plan.rows
    ]


def _why(row: PlanRow) -> list[str]:
    """The row's reasons; a long list of stages it comes after is cut, and one of changes."""
    reasons = list(row.reasons)
    if len(row.after) > NAMED_BEFORE:
        named, rest = ", ".join(row.after[:NAMED_BEFORE]), len(row.after) - NAMED_BEFORE
        reasons[0] = f"after {named} and {rest} more"
    unnamed = len(reasons) - NAMED_CHANGES - bool(row.after)
    return [*reasons[:-unnamed], f"and {unnamed} more changes"] if unnamed > 1 else reasons


def summary_line(plan: Plan) -> str:
    """For example ``4 of 16 stages to run, about 5:20``."""
    line = f"{len(plan.work)} of {len(plan.rows)} stages to run"
    return f"{line}, about {clock(plan.expected_s)}" if plan.expected_s else line


def _time(row: PlanRow) -> str:
    if row.action.value == "reuse":
        return "-"
    return "?" if row.expected_s is None else clock(row.expected_s)
