"""Two hundred raters at once, and a server that is killed under them: no vote that was acknowledged is lost."""

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from diffsensei.config.schema import StudyConfig
from diffsensei.study.ledger import read_votes
from diffsensei.study.packets import read_key
from diffsensei.study.prepare import prepare_study
from tests.study.crowd import Crowd, served, vote_all

pytestmark = pytest.mark.slow
RATERS, SETS, KILLS = 200, 4, 5


@pytest.fixture(scope="module")
def large(
    study_config: StudyConfig,
    benchmark_folder: Path,
    drawings: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    output = tmp_path_factory.mktemp("large") / "study"
    config = study_config.replaced(num_raters=RATERS, items_per_rater=SETS, checks_per_rater=0, repeats_per_rater=0)
    prepare_study(study=config, seed=0, benchmark=benchmark_folder, drawings=drawings, output=output)
    return output


def test_two_hundred_raters_lose_nothing(large: Path, tmp_path: Path) -> None:
    study = Path(shutil.copytree(large, tmp_path / "study"))
    crowd = Crowd()
    with served(study) as (address, _):
        asyncio.run(vote_all(address, study, crowd))
    assert crowd.refused == []
    assert len(crowd.acknowledged) == sum(len(rater.trials) for rater in read_key(study).raters) == RATERS * SETS
    assert _kept(study) == _told(crowd)


def test_votes_outlive_a_killed_server(large: Path, tmp_path: Path) -> None:
    study = Path(shutil.copytree(large, tmp_path / "study"))
    crowd, moments = Crowd(), random.Random(0)
    for _ in range(KILLS):
        with served(study) as (address, process):
            asyncio.run(vote_all(address, study, crowd, kill=(process, moments.uniform(0, 0.1))))
        assert _told(crowd) <= _kept(study)
    assert 0 < len(crowd.acknowledged) < RATERS * SETS, "killed in the middle of it"
    with served(study) as (address, _):
        asyncio.run(vote_all(address, study, crowd))
    assert crowd.refused == []
    assert len(read_votes(study)) == RATERS * SETS
    assert _told(crowd) <= _kept(study)


def _told(crowd: Crowd) -> set[tuple[str, str, int]]:
    return {(packet, vote["trial"], vote["duration_ms"]) for packet, vote in crowd.acknowledged}


def _kept(study: Path) -> set[tuple[str, str, int]]:
    return {(stored.packet, stored.vote.trial, stored.vote.duration_ms) for stored in read_votes(study)}
