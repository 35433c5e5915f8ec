"""Running and planning flows, and what presets hold."""

import json
import os
from collections.abc import Iterator
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffsensei.config import PAPER_SOURCES, ExperimentConfig, flatten, load_preset, parse_value
from flows.catalog import FLOWS, FlowEntry, find_flow
from flows.commands.options import Overrides, Preset

if TYPE_CHECKING:
    from infra.plan import Plan
    from tasks.pricing import Price

VALUE_WIDTH = 72


def add_commands(app: typer.Typer) -> None:
    """Add them to the command itself."""
    app.command(epilog="Example: diffsensei run train --preset tiny --set training.stage2.steps=200")(run)
    app.command(epilog="Example: diffsensei plan train --set training.stage2.steps=200")(plan)
    app.command(epilog="Example: diffsensei show paper")(show)
    app.command(epilog="Example: diffsensei evaluations --all")(evaluations)
    app.command()(version)


def run(
    flow: Annotated[str, typer.Argument(help=f"One of: {', '.join(FLOWS)}.")],
    preset: Preset = "tiny",
    overrides: Overrides = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of live bars.")] = False,
) -> None:
    """Run a flow here and now; what is already in the store is reused, what was interrupted goes on.

    Needs no Prefect server. With PREFECT_API_URL set, the run appears on that server.
    """
    entry = find_flow(flow)
    parameters = _parameters(entry, preset, overrides or [])
    if plain:
        os.environ["TERM"] = "dumb"
    from flows.local_run import run_here
    from tasks.publication import open_store

    made = run_here(entry, parameters, open_store().base)
    typer.echo(f"{'report' if 'report' in entry.targets else 'done'}: {made or entry.name}")


def _parameters(entry: FlowEntry, preset: str, overrides: list[str]) -> dict[str, Any]:
    """The flow's parameters, checked before anything is started."""
    own: dict[str, Any] = {}
    rest = []
    for assignment in overrides:
        name, _, text = assignment.partition("=")
        if name in entry.parameters:
            own[name] = parse_value(text)
        else:
            rest.append(assignment)
    if entry.configured:
        load_preset(preset, rest)
        return own | {"preset": preset, "overrides": rest}
    if rest:
        unknown = ", ".join(sorted(assignment.partition("=")[0] for assignment in rest))
        raise ValueError(f"{entry.name} has no {unknown}; known: {', '.join(entry.parameters)}")
    return own


def plan(
    flow: Annotated[str, typer.Argument(help=f"One of: {', '.join(FLOWS)}.")] = "full-pipeline",
    preset: Preset = "tiny",
    overrides: Overrides = None,
    gpu: Annotated[str, typer.Option(help="Price the stages on it: a100, h100, h200, l40s or rtx4090.")] = "",
    utilisation: Annotated[float, typer.Option(min=0.01, max=1.0, help="Share of its datasheet's speed.")] = 0.3,
) -> None:
    """What a run would do, stage by stage, and why; nothing is started."""
    entry = find_flow(flow)
    if not entry.targets and not entry.plan:
        raise ValueError(f"{entry.name} is a single job without a plan; start it with `diffsensei run {entry.name}`")
    parameters = _parameters(entry, preset, overrides or [])
    config = load_preset(parameters.pop("preset"), parameters.pop("overrides"))
    from tasks.planning import plan_targets, summary_line, table_rows
    from tasks.publication import open_store
    from tasks.terminal import print_table

    if entry.plan:
        if gpu and not entry.price:
            raise ValueError(f"{entry.name} has no price; leave --gpu out")
        priced = _price_rows(config, entry, gpu, utilisation) if gpu else None
        for line in resolve_name(entry.plan)(config, open_store(), **parameters):
            typer.echo(line)
    else:
        found = plan_targets(config, entry.targets, open_store())
        priced = _price(config, found, gpu, utilisation) if gpu else None
        print_table(table_rows(found))
        typer.echo(summary_line(found))
    if priced is not None:
        typer.echo()
        print_table(priced.rows)
        for note in priced.notes:
            typer.echo(note)


def _price(config: ExperimentConfig, plan: "Plan", gpu: str, utilisation: float) -> "Price":
    from diffsensei.costs.gpus import find_gpu
    from tasks.pricing import price

    return price(config, plan, find_gpu(gpu), utilisation)


def _price_rows(config: ExperimentConfig, entry: FlowEntry, gpu: str, utilisation: float) -> "Price":
    from diffsensei.costs.gpus import find_gpu
    from tasks.publication import open_store

    priced: Price = resolve_name(entry.price)(config, open_store(), find_gpu(gpu), utilisation)
    return priced


def show(
    preset: Annotated[str, typer.Argument(help="tiny, small or paper.")],
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Every field of a preset, with the source of each of the paper's numbers."""
    config = load_preset(preset, overrides or ())
    if as_json:
        typer.echo(json.dumps(config.model_dump(mode="json"), indent=2))
        return
    for line in _described(config, preset, overrides or []):
        typer.echo(line)


def _described(config: ExperimentConfig, preset: str, overrides: list[str]) -> Iterator[str]:
    changed = {assignment.partition("=")[0].strip() for assignment in overrides}
    sources = PAPER_SOURCES if preset == "paper" else {}
    values = flatten(config)
    width = (
        max(len(f"{path} = {json.dumps(value)}") for path, value in values.items() if path in sources) if sources else 0
    )
    for path, value in values.items():
        line = f"{path} = {json.dumps(value, ensure_ascii=False)}"
        source = "set on the command line" if _is_under(path, changed) else sources.get(path)
        yield f"{line:<{min(width, 72)}}  # {source}" if source else line


def _is_under(path: str, changed: set[str]) -> bool:
    return any(path == other or path.startswith(f"{other}.") for other in changed)


def evaluations(
    name: Annotated[str | None, typer.Argument(help="Experiment, such as tiny; the last evaluated by default.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every metric, not the headline alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Checkpoints by metrics as they were last evaluated; `diffsensei plan evaluate` says what is missing since."""
    from tasks.evaluation_tables import print_evaluations
    from tasks.reevaluation import newest_tables

    found = newest_tables(name)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        print_evaluations(found, every)


def version() -> None:
    """Versions of this package and of what decides its results."""
    from importlib.metadata import version as installed

    for name in ("diffsensei-pipeline", "torch", "diffusers", "transformers", "peft", "prefect"):
        typer.echo(f"{name} {installed(name)}")
