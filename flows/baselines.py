"""``baselines``: the compared methods of the paper's Table 2, trained, drawn and scored beside DiffSensei."""

from collections.abc import Sequence

from prefect import flow

from diffsensei.config import load_preset
from flows.catalog import FLOWS
from tasks.cancellation import cancel_jobs_of_run
from tasks.outcome import publish
from tasks.pipeline import run_pipeline


@flow(name="baselines", flow_run_name="{preset}", persist_result=False, on_cancellation=[cancel_jobs_of_run])
async def baselines(preset: str = "tiny", overrides: Sequence[str] = ()) -> str | None:
    """Every method to its scores, for a preset and ``path=value`` overrides; one that fails stops no other."""
    config = load_preset(preset, overrides)
    return await publish(await run_pipeline(config, FLOWS["baselines"].targets))
