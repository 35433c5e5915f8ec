"""Releasing under every fault at every call that changes the disk: nothing is half released; again, and it is whole."""

import shutil
from pathlib import Path

import pytest

from diffsensei.config import load_preset
from diffsensei.release.manifest import write_manifest
from infra.manifest import Origin
from infra.store import Store
from tasks.releases import APPROVED, CANDIDATE, CERTIFIED, RELEASED, VERSIONS, require_certified, settle
from tests.gate.conftest import gate, make_candidate, rule
from tests.infra.faults import Operation, sweep

pytestmark = pytest.mark.slow

CONFIG = load_preset("tiny").replaced(gate=gate(rule()))
NAME, VERSION = CONFIG.release.name, CONFIG.release.version
ORDER = (CANDIDATE, CERTIFIED, APPROVED, VERSIONS, RELEASED)


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that holds a bundle and its gate's result, named by their digests."""
    base = tmp_path_factory.mktemp("candidate")
    store, made = Store(base / "store"), make_candidate(base / "made")
    write_manifest(made.bundle, NAME, VERSION)
    score = store.publish_object(made.score, "score")
    origin = Origin(config={"release": CONFIG.release.model_dump()}, inputs={"score": score.digest})
    bundle = store.publish_object(made.bundle, "bundle", origin)
    certificate = store.publish_object(made.certify(CONFIG.gate, VERSION), "gate")
    (base / "digests").write_text(f"{bundle.digest} {certificate.digest}")
    return base


def test_every_fault_while_releasing_leaves_whole_moves_in_order(candidate: Path, tmp_path: Path) -> None:
    bundle, certificate = (candidate / "digests").read_text().split()

    def prepare(folder: Path) -> Operation:
        shutil.copytree(candidate / "store", folder / "store")
        store = Store(folder / "store")
        return lambda: settle(store, CONFIG, store.object("bundle", bundle), store.object("gate", certificate))

    def check(folder: Path, whole: bool) -> None:
        store = Store(folder / "store")
        log = store.refs.log()
        assert [move.channel for move in log] == list(ORDER[: len(log)])
        assert {move.generation for move in log} <= {1}, "a move was made twice"
        for channel in ORDER:
            for name in store.refs.names(channel):
                assert store.refs.read(channel, name) in log, "the pointer is ahead of the log"
        if store.refs.read(RELEASED, NAME):
            require_certified(store, NAME, store.object("bundle", bundle))
        if whole:
            assert len(log) == len(ORDER)
            pointed = store.refs.read(RELEASED, NAME)
            assert pointed is not None
            assert pointed.digest == bundle

    assert sweep(prepare, check, tmp_path) > 3 * 4 * len(ORDER)
