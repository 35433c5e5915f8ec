"""The paper's ablations: every row is the pipeline under a configuration of its own, brought as far as its scores.

All rows share one store, so what a row does not change it does not do again: keys are made of content, and a row that
equals the main run finds the main run's stages. A row that fails is a failed row; the others go on.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from diffsensei.config import ExperimentConfig, config_digest
from diffsensei.config.overrides import override
from diffsensei.evaluation.ablations import VARIANTS, Variant
from infra.outcome import StageCancelled
from infra.plan import in_order, make_plan
from infra.stage import Json, Stage, stage_key
from infra.store import ObjectRef, Store
from tasks.artifacts import show_lines
from tasks.pipeline import run_alone, run_graph
from tasks.placement import configured_backend, placed
from tasks.planning import needed_for, summary_line
from tasks.publication import open_store
from tasks.stage_graph import Node
from tasks.stages.benchmark import GENERATE, benchmark_stages, score_stage
from tasks.stages.data import data_stages
from tasks.stages.reporting import ABLATIONS, reference_name
from tasks.stages.training import training_stages
from tasks.terminal import print_lines

SCORE = "score_variant"


def variants_of(config: ExperimentConfig) -> list[tuple[Variant, ExperimentConfig]]:
    """Every row with its configuration. Raises ValueError where one of them is not valid."""
    return [(variant, override(config, variant.overrides)) for variant in VARIANTS]


def variant_stages(variant: Variant, config: ExperimentConfig) -> list[Stage]:
    """What a row takes: the pipeline's own stages under ``config``, the row's, and the scores of its method alone."""
    drawn = next(stage for stage, (method, _) in GENERATE.items() if method == variant.method)
    stages = [*data_stages(config), *training_stages(config), *benchmark_stages(config)[:-1]]
    return [*needed_for([drawn], stages), score_stage(config, SCORE, (drawn,))]


def plan_ablations(config: ExperimentConfig, store: Store) -> Iterator[str]:
    """A line for each row: how much of it is to be done, and which stages. Nothing is started."""
    planned: set[str] = set()
    for variant, own in variants_of(config):
        same = _identity(variant, own)
        plan = make_plan(variant_stages(variant, own), own.keyed(), store)
        names = ", ".join(row.stage for row in plan.work)
        said = "as a row above" if same in planned else f"{summary_line(plan)}{f' ({names})' if names else ''}"
        planned.add(same)
        yield f"{title(variant)}: {said}"


async def run_ablations(config: ExperimentConfig) -> tuple[Store, ObjectRef]:
    """``ablations.json`` and its page, in the store. Called inside a flow.

    Raises StageCancelled where a person stopped a row; ValueError, before anything is started, where a row's
    configuration is not valid.
    """
    store = open_store()
    nodes, scored = ablation_graph(variants_of(config))
    lines = await asyncio.to_thread(lambda: list(plan_ablations(config, store)))
    print_lines(lines)
    await show_lines(lines, "plan", "What each row still needs")
    graph = await run_graph(nodes, store, configured_backend(config.jobs), config.runtime.parallel_jobs)
    scores: dict[str, ObjectRef] = {}
    failures: dict[str, str] = {}
    for key, node in scored.items():
        error = graph.lost.get(node)
        if isinstance(error, StageCancelled):
            raise error
        if error is None:
            scores[key] = graph.results[node].object
        else:
            failures[key] = str(error).splitlines()[0]
    result = await _collected(config, scores, failures, store)
    name = reference_name(config)
    current = store.refs.read(ABLATIONS, name)
    store.refs.move(ABLATIONS, name, result.kind, result.digest, expected=current.digest if current else None)
    return store, result


def ablation_graph(rows: Sequence[tuple[Variant, ExperimentConfig]]) -> tuple[dict[str, Node], dict[str, str]]:
    """All rows as one graph, in which what rows share stands once, and the node of each row's scores by `Variant.key`.

    A row that fails is lost with what only it needs; the others go on.
    """
    nodes: dict[str, Node] = {}
    scored = {}
    for variant, config in rows:
        stages, values = placed(variant_stages(variant, config), config), config.keyed()
        keys = expected_keys(stages, values)
        for stage in stages:
            if keys[stage.name] not in nodes:
                shown = f"{stage.name} ({title(variant)})"
                sources = {argument: keys[source] for argument, source in stage.inputs.items()}
                node = Node(shown, replace(stage, inputs=sources, may_fail=True), stage.values(values))
                nodes[keys[stage.name]] = node
        scored[variant.key] = keys[SCORE]
    forms = Counter(node.stage.name for node in nodes.values())
    alone = {name: replace(node, title=node.stage.name) for name, node in nodes.items() if forms[node.stage.name] == 1}
    return nodes | alone, scored


def expected_keys(stages: Sequence[Stage], values: Mapping[str, Json]) -> dict[str, str]:
    """Stage -> what its result depends on, also where no input is there yet: equal where two rows share the stage."""
    keys: dict[str, str] = {}
    for stage in in_order(stages):
        inputs = {argument: keys[source] for argument, source in stage.inputs.items()}
        keys[stage.name] = stage_key(stage, stage.values(values), inputs)
    return keys


async def _collected(
    config: ExperimentConfig, scores: dict[str, ObjectRef], failures: dict[str, str], store: Store
) -> ObjectRef:
    """One stage over the results of many runs."""
    stage = Stage(
        name="ablations",
        version=1,
        entry="reports.ablations:build_ablations",
        config={"config": ""},
        literals={"failures": failures},
        inputs=dict.fromkeys(scores, SCORE),
        packages=("jinja2",),
    )
    return (await run_alone(stage, config, scores, store)).object


def _identity(variant: Variant, config: ExperimentConfig) -> str:
    return f"{variant.method} {config_digest(config)}"


def title(variant: Variant) -> str:
    """The row's name, for people."""
    return f"{variant.table.replace('_', ' ').capitalize()}, {variant.label}"
