"""Checks without images: captions' tokens, and full size in bounded memory; bad files are in the corpus."""

from pathlib import Path

import pytest

from diffsensei.config.presets import paper, tiny
from diffsensei.data.validation.annotation_check import check_annotations
from tests.benchmarks.annotation_check import measure_check
from tests.data.validation.large_annotations import write_large

MAX_PEAK_MB = 2e9 / 2**20


def test_tokens_are_counted_with_a_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    num_panels = write_large(path, 20)
    data = paper().data
    check = check_annotations(path, data.validation, data.buckets, tiny().model.foundations.text_encoder)
    tokens = check.statistics["distributions"]["caption_tokens"]
    assert tokens["count"] == num_panels
    assert tokens["quantiles"][0] >= 40  # the shortest caption has forty words
    (line,) = (line for line in check.report["checks"] if line["reason"] == "long_caption")
    assert 0 < line["unexpected"] <= num_panels
    assert check.statistics["share_of_captions_truncated"] == pytest.approx(line["unexpected"] / num_panels, abs=1e-4)
    assert sum(series["panels"] for series in check.report["series"]) == num_panels


@pytest.mark.long
def test_fifty_thousand_pages_fit_into_two_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    num_panels = write_large(path, 50_000)
    figures = measure_check(path)
    assert figures["counts"]["panel"]["ok"] == num_panels > 425_000
    assert figures["peak_mb"] < MAX_PEAK_MB
