"""``ablations``: the paper's Tables 3, 4(a) and 4(b), a row at a time."""

from collections.abc import Sequence

from prefect import flow

from diffsensei.config import load_preset
from tasks.ablations import run_ablations
from tasks.cancellation import cancel_jobs_of_run
from tasks.outcome import publish_ablations


@flow(name="ablations", flow_run_name="{preset}", persist_result=False, on_cancellation=[cancel_jobs_of_run])
async def ablations(preset: str = "tiny", overrides: Sequence[str] = ()) -> str:
    """Every variant trained, drawn and scored as far as it differs; returns the path of the tables' page."""
    config = load_preset(preset, overrides)
    return await publish_ablations(config, *await run_ablations(config))
