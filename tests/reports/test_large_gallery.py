"""A report as large as the paper's benchmark; ``python -m tests.benchmarks galleries`` measures how long it takes."""

import json

import pytest

from reports.site import build_report
from tests.benchmarks.galleries import (
    MAX_DATA_BYTES,
    MAX_OPEN_S,
    PANELS,
    large_run,
    largest_data_file,
    opening_seconds,
    with_images,
)
from tests.conftest import CHROMIUM
from tests.reports.test_gallery import read_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """All of one series, which is where a data file could grow beyond bounds; without pictures, which are not in it."""
    base = tmp_path_factory.mktemp("large")
    arguments = large_run(base, pictures=False, num_series=1)
    output = base / "report"
    build_report(**with_images(arguments, "none", output))
    return output


def test_no_data_file_is_larger_than_two_megabytes(report):
    assert largest_data_file(report) <= MAX_DATA_BYTES


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH; apt-get install chromium")
def test_pages_open_within_a_second(report):
    seconds = opening_seconds(report, repeats=3)
    assert max(seconds.values()) < MAX_OPEN_S, seconds


def test_every_panel_is_in_the_lists_and_in_the_records(report):
    (series,) = read_data(report, "report")["series"]
    assert len(series["parts"]) > 2
    records = [one["id"] for part in series["parts"] for one in read_data(report, part)]
    listed = [one[0] for part in sorted((report / "data").glob("panels-*.js")) for one in read_data(report, part.stem)]
    assert len(set(records)) == PANELS
    assert records == listed


def test_records_are_found_in_the_part_that_the_lists_name(report):
    (series,) = read_data(report, "report")["series"]
    parts = [{one["id"] for one in read_data(report, part)} for part in series["parts"]]
    for entry in read_data(report, "panels-0"):
        assert entry[0] in parts[entry[2]]
    assert json.dumps(series["name"]) == '"series-000"'
