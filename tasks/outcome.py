"""What remains to be done when the stages are: references moved, report published, figures shown."""

import asyncio

from diffsensei.config import ExperimentConfig
from infra.store import ObjectRef, Store
from tasks.artifacts import show_lines, show_metrics, show_report
from tasks.pipeline import PipelineRun
from tasks.publication import publish_page
from tasks.releases import settle
from tasks.report_site import publish_version
from tasks.terminal import print_lines


async def publish(run: PipelineRun) -> str | None:
    """Publish what the run has: metrics, the release as far as its gate lets it come, the report.

    Returns the path of the report's page in the site of all versions, or None for runs without one.
    """
    results = run.results
    await show_scores(run)
    if {"bundle", "gate"} <= results.keys():
        bundle, gate = results["bundle"].object, results["gate"].object
        settled = await asyncio.to_thread(settle, run.store, run.config, bundle, gate)
        print_lines(settled.lines)
        await show_lines(settled.lines, "release", f"The run's bundle is {settled.channel}")
    if "report" not in results:
        return None
    page = await asyncio.to_thread(publish_version, run.store, results["report"].object, run.config.release)
    await show_report(page)
    return str(page)


async def show_scores(run: PipelineRun) -> None:
    """The table of each benchmark that the run scored."""
    for score, table in (("score", "metrics"), ("evaluation_score", "evaluation-metrics")):
        if score in run.results:
            await show_metrics(run.results[score].object.path, table)


async def publish_ablations(config: ExperimentConfig, store: Store, result: ObjectRef) -> str:
    """Publish the tables; returns the path of their page."""
    page = await asyncio.to_thread(publish_page, store, result, config.release, "ablations")
    await show_report(page)
    return str(page)
