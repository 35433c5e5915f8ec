"""``evaluate``: the frozen benchmark, every method's panels, and their scores."""

from collections.abc import Sequence

from prefect import flow

from diffsensei.config import load_preset
from flows.catalog import FLOWS
from tasks.cancellation import cancel_jobs_of_run
from tasks.outcome import publish
from tasks.pipeline import run_pipeline


@flow(name="evaluate", flow_run_name="{preset}", persist_result=False, on_cancellation=[cancel_jobs_of_run])
async def evaluate(preset: str = "tiny", overrides: Sequence[str] = ()) -> str | None:
    """Weights to scores, for a preset and ``path=value`` overrides."""
    config = load_preset(preset, overrides)
    return await publish(await run_pipeline(config, FLOWS["evaluate"].targets))
