"""What remains to be done when the stages are: references moved, report published, figures shown."""

import asyncio

from diffsensei.config import ExperimentConfig
from infra.store import ObjectRef, Store
from tasks.artifacts import show_metrics, show_report
from tasks.pipeline import PipelineRun
from tasks.publication import CANDIDATE, RELEASED, move_reference, publish_page
from tasks.report_site import publish_version


async def publish(run: PipelineRun) -> str | None:
    """Publish what the run has: metrics, the candidate, the release once it is verified, the report.

    Returns the path of the report's page in the site of all versions, or None for runs without one.
    """
    results, release = run.results, run.config.release
    for score, table in (("score", "metrics"), ("evaluation_score", "evaluation-metrics")):
        if score in results:
            await show_metrics(results[score].object.path, table)
    if "bundle" in results:
        bundle = results["bundle"].object
        move_reference(run.store, CANDIDATE, release, bundle, "built")
        if "verify" in results:
            move_reference(run.store, RELEASED, release, bundle, f"verified: {results['verify'].object.digest}")
    if "report" not in results:
        return None
    page = await asyncio.to_thread(publish_version, run.store, results["report"].object, release)
    await show_report(page)
    return str(page)


async def publish_ablations(config: ExperimentConfig, store: Store, result: ObjectRef) -> str:
    """Publish the tables; returns the path of their page."""
    page = await asyncio.to_thread(publish_page, store, result, config.release, "ablations")
    await show_report(page)
    return str(page)
