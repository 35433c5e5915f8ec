"""``evaluate``: checkpoints by benchmarks by metrics, and only what is missing is drawn and scored."""

from collections.abc import Sequence

from prefect import flow

from diffsensei.config import load_preset
from tasks.cancellation import cancel_jobs_of_run
from tasks.evaluation_tables import show_evaluations
from tasks.outcome import show_scores
from tasks.reevaluation import run_evaluation


@flow(
    name="evaluate", flow_run_name="{preset} {checkpoints}", persist_result=False, on_cancellation=[cancel_jobs_of_run]
)
async def evaluate(preset: str = "tiny", overrides: Sequence[str] = (), checkpoints: str = "all") -> str:
    """The benchmarks of a preset and ``path=value`` overrides, frozen if need be; returns the folder of the tables.

    ``checkpoints``: ``configured`` brings the configuration's own methods to their scores, training included;
    ``published`` draws and scores what the references candidate, approved and released name, and trains nothing;
    ``all`` does both.
    """
    evaluated = await run_evaluation(load_preset(preset, overrides), checkpoints)
    await show_scores(evaluated.run)
    await show_evaluations(evaluated.evaluations)
    return str(evaluated.tables.path)
