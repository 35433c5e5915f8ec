"""Publishing a checkpoint is told to the server, whether it listens or not."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client

from diffsensei.config.schema import ReleaseConfig
from infra.store import Store
from tasks.events import CHECKPOINT_PUBLISHED
from tasks.releases import APPROVED, CANDIDATE, RELEASED, move_reference

pytestmark = pytest.mark.slow

RELEASE = ReleaseConfig(name="small-manga", version="1.2.3", licence="apache-2.0")
PATIENCE_S = 60.0


@pytest.mark.usefixtures("prefect_server")
def test_each_move_to_a_published_channel_is_one_event(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "weights.txt").write_text("secret words of the configuration")
    bundle = store.publish_object(tmp_path / "bundle", "bundle")

    @flow(name="publishing", persist_result=False)
    async def publishing() -> None:
        for channel in (CANDIDATE, APPROVED, RELEASED, RELEASED):
            move_reference(store, channel, RELEASE.name, bundle, "verified")

    asyncio.run(publishing())
    events = asyncio.run(_events(2))
    assert sorted(event["resource"]["diffsensei.channel"] for event in events) == [APPROVED, RELEASED]
    for event in events:
        assert event["resource"]["prefect.resource.id"] == "diffsensei.checkpoint.small-manga"
        assert event["payload"] == {"bundle": bundle.digest, "generation": 1}
        assert any(related["prefect.resource.id"].startswith("prefect.flow-run.") for related in event["related"])


async def _events(wanted: int) -> list[dict[str, Any]]:
    """The events of published checkpoints that the server has, once there are ``wanted``."""
    deadline = time.monotonic() + PATIENCE_S
    async with get_client() as client:
        while True:
            found = await client._client.post(
                "/events/filter", json={"filter": {"event": {"name": [CHECKPOINT_PUBLISHED]}}}
            )
            events: list[dict[str, Any]] = found.raise_for_status().json()["events"]
            if len(events) >= wanted or time.monotonic() > deadline:
                return events
            await asyncio.sleep(0.5)


PUBLISH = """
import sys, time
from pathlib import Path
from infra.store import Store
from tasks.releases import RELEASED, move_reference

folder = Path(sys.argv[1])
store = Store(folder / "store")
(folder / "bundle").mkdir()
(folder / "bundle" / "weights.txt").write_text("weights")
bundle = store.publish_object(folder / "bundle", "bundle")
began = time.monotonic()
move_reference(store, RELEASED, "m", bundle, "verified")
print(time.monotonic() - began, store.refs.read(RELEASED, "m").digest == bundle.digest)
"""


@pytest.mark.parametrize("server", ["none", "away"])
def test_a_server_that_is_away_keeps_nothing_from_being_published(server: str, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    if server == "away":
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            env["PREFECT_API_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH, str(tmp_path)], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    took, moved = done.stdout.split()
    assert moved == "True"
    assert float(took) < 20, "importing Prefect is all that it waits for"
