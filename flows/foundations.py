"""``foundations``: the embedded frozen models, trained again on the drawn world."""

from collections.abc import Sequence

from prefect import flow

from tasks.cancellation import cancel_jobs_of_run
from tasks.foundation_training import train_embedded_foundations


@flow(name="foundations", persist_result=False, on_cancellation=[cancel_jobs_of_run])
async def foundations(only: Sequence[str] | None = None, steps_scale: float = 1.0) -> str:
    """Train the parts named in ``only`` (all by default); returns the folder of the result.

    ``steps_scale`` shortens every recipe, for a look. To ship the result, copy it to `diffsensei/foundations/weights`.
    """
    return str(await train_embedded_foundations(only, steps_scale))
