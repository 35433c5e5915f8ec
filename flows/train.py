"""``train``: pre-training, stage 1 and stage 2, with the data they need."""

from collections.abc import Sequence

from prefect import flow

from diffsensei.config import load_preset
from flows.catalog import FLOWS
from tasks.cancellation import cancel_jobs_of_run
from tasks.outcome import publish
from tasks.pipeline import run_pipeline


@flow(name="train", flow_run_name="{preset}", persist_result=False, on_cancellation=[cancel_jobs_of_run])
async def train(preset: str = "tiny", overrides: Sequence[str] = ()) -> str | None:
    """Panel sets to trained weights, for a preset and ``path=value`` overrides."""
    config = load_preset(preset, overrides)
    return await publish(await run_pipeline(config, FLOWS["train"].targets))
