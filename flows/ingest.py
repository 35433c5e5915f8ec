"""``ingest``: pages fetched, validated, split and cut into panels."""

from collections.abc import Sequence

from prefect import flow

from diffsensei.config import load_preset
from flows.catalog import FLOWS
from tasks.cancellation import cancel_jobs_of_run
from tasks.outcome import publish
from tasks.pipeline import run_pipeline


@flow(name="ingest", flow_run_name="{preset}", persist_result=False, on_cancellation=[cancel_jobs_of_run])
async def ingest(preset: str = "tiny", overrides: Sequence[str] = ()) -> str | None:
    """Annotations to panel sets, for a preset and ``path=value`` overrides."""
    config = load_preset(preset, overrides)
    return await publish(await run_pipeline(config, FLOWS["ingest"].targets))
