"""The study's four flows, one after the other as a person would start them."""

import asyncio
from pathlib import Path

import pytest

from diffsensei.study.results import PowerResult, read_study
from flows.catalog import FLOWS
from flows.study import study_analyse, study_import, study_prepare, study_simulate
from tests.study.conftest import draw_benchmark, draw_methods

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

SMALL = ["study.num_raters=4", "study.items_per_rater=3", "study.page_width=240", "study.bootstrap_resamples=20"]


def test_from_packets_to_a_result(tmp_path: Path) -> None:
    for name in ("benchmark", "drawings"):
        (tmp_path / name).mkdir()
    benchmark = draw_benchmark(tmp_path / "benchmark")
    methods = draw_methods(benchmark, tmp_path / "drawings")
    study, result = tmp_path / "study", tmp_path / "result"
    assert asyncio.run(study_prepare(benchmark, methods, study, overrides=SMALL)) == str(study)
    assert len([packet for packet in (study / "packets").iterdir() if packet.is_dir()]) == 4
    (tmp_path / "answers.json").write_text("{}")
    assert asyncio.run(study_import(study, [tmp_path / "answers.json"])) == 1
    assert asyncio.run(study_analyse(study, result)) == str(result)
    assert read_study(result).state == "no votes"
    asyncio.run(study_simulate(result / "power.json", methods=3, pages=6, studies=1, overrides=SMALL))
    assert PowerResult.model_validate_json((result / "power.json").read_text()).num_raters == 4


def test_the_catalog_knows_what_each_flow_takes() -> None:
    for name, function in (
        ("study-prepare", study_prepare),
        ("study-import", study_import),
        ("study-analyse", study_analyse),
        ("study-simulate", study_simulate),
    ):
        taken = set(function.parameters.properties)
        entry = FLOWS[name]
        assert taken == set(entry.parameters) | ({"preset", "overrides"} if entry.configured else set())
