"""The whole pipeline, killed at random moments as a power cut would, and started again with the same command."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffsensei.config import load_preset
from flows.catalog import FLOWS
from infra.jobs.process import processes_of
from infra.store import Store
from tasks.planning import plan_targets

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("diffsensei")
NUM_KILLS = 3
SMALL = {
    "data.source.num_series": 3,
    "data.source.pages_per_series": 6,
    "training.pretrain.steps": 6,
    "training.stage1.steps": 6,
    "training.stage2.steps": 4,
    "sampling.steps": 2,
    "baselines.ar_ldm.training.steps": 2,
    "baselines.storygen.single.steps": 2,
    "baselines.storygen.context.steps": 2,
    "baselines.ms_diffusion.training.steps": 2,
    "baselines.ms_diffusion.dialogs_training.steps": 2,
    "baselines.seed_story.language_training.steps": 2,
    "baselines.seed_story.detokenizer_training.steps": 2,
    **{
        f"baselines.{method}.sampling.steps": 2
        for method in ("ar_ldm", "storygen", "ms_diffusion", "seed_story", "storydiffusion")
    },
    "evaluation.bootstrap_resamples": 50,
}
OVERRIDES = [f"{path}={value}" for path, value in SMALL.items()]


def _start(base: Path) -> subprocess.Popen[bytes]:
    command = [PROGRAM, "run", "full-pipeline", *(word for item in OVERRIDES for word in ("--set", item))]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with (base / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=env | {"DIFFSENSEI_STORE": str(base / "store")},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _kill_everything(command: subprocess.Popen[bytes], store: Store) -> None:
    """The command, the server it started, and every process of every job: at once and without warning."""
    os.killpg(command.pid, signal.SIGKILL)
    for folder in store.stage_folders():
        for attempt in folder.attempts():
            running = attempt.running()
            pids = processes_of(attempt.intent().token)
            for pid in [running.identity.pid, *pids] if running and attempt.is_live() else pids:
                os.kill(pid, signal.SIGKILL)
    command.wait()


def _finished(store: Store) -> dict[str, tuple[str, str, str]]:
    """Stage -> key, digest and moment of its completion."""
    done = {folder.name: folder.done() for folder in store.stage_folders()}
    return {name: (found.key, found.digest, found.finished) for name, found in done.items() if found}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    for folder in store.stage_folders():
        for attempt in folder.attempts():
            for pid in processes_of(attempt.intent().token):
                os.kill(pid, signal.SIGKILL)


def test_killed_three_times_it_ends_as_if_nothing_had_happened(store: Store, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"moments drawn with seed {seed}")  # shown when the test fails
    moments = random.Random(seed)
    for _ in range(NUM_KILLS):
        before = _finished(store)
        command = _start(tmp_path)
        wanted = len(before) + moments.randint(1, 4)
        while command.poll() is None and len(_finished(store)) < wanted:
            time.sleep(0.2)
        time.sleep(moments.uniform(0.0, 4.0))
        _kill_everything(command, store)
        after = _finished(store)
        assert {name: after[name] for name in before} == before, "a finished stage was done again"

    before = _finished(store)
    assert _start(tmp_path).wait() == 0, (tmp_path / "log").read_text()[-4000:]
    after = _finished(store)
    assert {name: after[name] for name in before} == before, "a finished stage was done again"
    assert (tmp_path / "log").read_text().strip().splitlines()[-1].startswith("report: ")
    assert {folder.name for folder in store.stage_folders()} == after.keys()
    assert len(store.stage_folders()) == len(after), "a stage was begun under two keys"

    plan = plan_targets(load_preset("tiny", OVERRIDES), FLOWS["full-pipeline"].targets, store)
    assert plan.work == ()
    for name, (_, digest, _) in after.items():
        store.verify(store.object(name, digest))
