"""``release``: bundle, verification, report, and the references that name them."""

from collections.abc import Sequence

from prefect import flow

from diffsensei.config import load_preset
from flows.catalog import FLOWS
from tasks.cancellation import cancel_jobs_of_run
from tasks.outcome import publish
from tasks.pipeline import run_pipeline


@flow(name="release", flow_run_name="{preset}", persist_result=False, on_cancellation=[cancel_jobs_of_run])
async def release(preset: str = "tiny", overrides: Sequence[str] = ()) -> str | None:
    """Scores to a verified release, for a preset and ``path=value`` overrides; returns the path of the report."""
    config = load_preset(preset, overrides)
    return await publish(await run_pipeline(config, FLOWS["release"].targets))
