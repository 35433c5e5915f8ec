"""A flow in this process, without a Prefect server of one's own: Prefect starts one for the length of the run."""

import asyncio
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from flows.catalog import FlowEntry
from infra.orphans import end_orphans, mark_children

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
}
OWN_SERVER = {
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    # A fresh database takes half a minute on two idle cores; Prefect's own limit is 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    # The stages' own lines are what a person reads here; Prefect's would repeat every failure as a traceback.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    # The server is stopped with events in its hands, and says so at length.
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
}


def prepare_prefect(store: Path) -> None:
    """Settings that must stand in the environment before Prefect is imported; what the user has set stays."""
    wanted = dict(QUIET)
    if "PREFECT_API_URL" not in os.environ:
        wanted |= OWN_SERVER
        end_orphans("uvicorn")  # the server of a command that was killed
        mark_children()
        if "PREFECT_HOME" not in os.environ:
            home = store.resolve() / "prefect"
            home.mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder only, and then retries for minutes
            wanted["PREFECT_HOME"] = str(home)
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def run_here(entry: FlowEntry, parameters: dict[str, Any], store: Path) -> Any:
    """Run the flow with these parameters and return what it returns. Ctrl-C stops its jobs, too."""
    prepare_prefect(store)
    print("starting (Prefect's own server takes a moment, on the first run half a minute)", file=sys.stderr)
    module, _, function = entry.function.partition(":")
    flow = getattr(importlib.import_module(module), function)
    try:
        return asyncio.run(flow(**parameters))
    except KeyboardInterrupt:
        from tasks.cancellation import cancel_own_runs

        cancel_own_runs()
        raise
