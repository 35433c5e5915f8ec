"""``drift-check``: a few frozen drawings scored again; fails where a metric moved that had no reason to."""

from collections.abc import Sequence

from prefect import flow

from diffsensei.config import load_preset
from tasks.cancellation import cancel_jobs_of_run
from tasks.drift import run_drift_check

TOLERANCE = 1e-3


@flow(name="drift-check", flow_run_name="{preset}", persist_result=False, on_cancellation=[cancel_jobs_of_run])
async def drift_check(preset: str = "tiny", overrides: Sequence[str] = (), tolerance: float = TOLERANCE) -> str:
    """Returns the folder of the tables; the run's failed state says in one line what moved.

    ``tolerance``: the share of its size that rounding may move a figure.
    """
    return str((await run_drift_check(load_preset(preset, overrides), tolerance)).path)
