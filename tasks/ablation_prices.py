"""What the paper's ablations cost: every row by the stages that no row above it shares."""

from collections.abc import Sequence
from functools import partial

from diffsensei.config import ExperimentConfig
from diffsensei.costs.data_size import DataSize
from diffsensei.costs.gpus import Gpu
from diffsensei.costs.passes import Passes
from diffsensei.costs.workload import Costs, Workload
from diffsensei.evaluation.costs import count_scoring
from infra.plan import make_plan
from infra.store import Store
from tasks.ablations import SCORE, expected_keys, title, variant_stages, variants_of
from tasks.pricing import COSTS, Price, Priced, count_work, data_size, notes_on, total_row

ROW_COSTS: Costs = {**COSTS, SCORE: partial(count_scoring, methods=1)}
"""A row's scores are of its own method alone."""


def price_ablations(config: ExperimentConfig, store: Store, gpu: Gpu, utilisation: float) -> Price:
    """A row for each row of the tables that has work of its own, and their sum.

    Raises ValueError as `pricing.price`.
    """
    counted: set[str] = set()
    every: list[Priced] = []
    rows = []
    passes: dict[object, Passes] = {}
    data: DataSize | None = None
    for variant, own in variants_of(config):
        stages = variant_stages(variant, own)
        keys = expected_keys(stages, own.keyed())
        plan = make_plan(stages, own.keyed(), store)
        data = data or data_size(own, plan)
        work = [row for row in plan.work if keys[row.stage] not in counted]
        counted |= {keys[row.stage] for row in work}
        same_networks = passes.setdefault((own.model, own.data.conditioning), Passes(own))
        priced = count_work(work, plan, Workload(own, data, same_networks), ROW_COSTS)
        if priced:
            every += priced
            rows.append(total_row(title(variant), priced, gpu, utilisation) | {"stages": _named(priced)})
    basis = "" if data is None else data.basis
    return Price(
        (*rows, total_row("together", every, gpu, utilisation) | {"stages": ""}), notes_on(basis, gpu, utilisation)
    )


def _named(priced: Sequence[Priced]) -> str:
    return ", ".join(found.stage for found in priced)
