"""``reconcile``: every few minutes, what crashed runs and workers left behind is ended or taken up again."""

import asyncio

from prefect import flow
from prefect.settings import PREFECT_API_URL

from tasks.artifacts import show_lines
from tasks.publication import open_store
from tasks.reconciliation import reconcile_attempts, reconcile_runs


@flow(name="reconcile", persist_result=False)
async def reconcile() -> int:
    """Runs first, then attempts; returns how much there was to do."""
    store = open_store()
    lines = await reconcile_runs(store, PREFECT_API_URL.value() or "")
    lines += await asyncio.to_thread(lambda: list(reconcile_attempts(store)))
    if lines:
        await show_lines(lines, "reconcile", "What was put right")
    return len(lines)
