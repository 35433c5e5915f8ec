"""Coverage counts every page, panel and box of the annotations once, under the state and reason it ended in."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from diffsensei.config.presets import tiny
from diffsensei.config.schema import SyntheticSource
from diffsensei.data.coverage import COUNTS, Coverage, compute_coverage, read_coverage
from diffsensei.data.download.pages import download_pages
from diffsensei.data.panels.cutting import cut_panels
from diffsensei.data.sources.annotations import collect_annotations
from diffsensei.data.validation.pages import validate_pages

SOURCE = SyntheticSource(num_series=2, pages_per_series=6, page_height=192, seed=13, defect_rate=0.5)
DATA = tiny().data


@pytest.fixture(scope="module")
def ingested(tmp_path_factory) -> Path:
    """The result folders of a world with defects, through all stages of the data."""
    root = tmp_path_factory.mktemp("ingested")
    for name in ("annotations", "download", "validate", "panels", "work"):
        (root / name).mkdir()
    work = {name: root / "work" / name for name in ("a", "d", "v", "p")}
    for folder in work.values():
        folder.mkdir()
    collect_annotations(source=SOURCE, workspace=work["a"], output=root / "annotations")
    download_pages(
        source=SOURCE, download=DATA.download, library=root / "library", limits=root / "limits",
        annotations=root / "annotations",
        workspace=work["d"], output=root / "download",
    )  # fmt: skip
    with ThreadPoolExecutor(2) as executor:
        validate_pages(
            validation=DATA.validation.replaced(max_quarantine_rate=1.0, min_panel_side=16), download=DATA.download,
            annotations=root / "download", download_dir=root / "download",
            workspace=work["v"], output=root / "validate", executor=executor,
        )  # fmt: skip
        cut_panels(
            split=DATA.split.replaced(eval_pages_per_series=2), validated=root / "validate",
            workspace=work["p"], output=root / "panels", executor=executor,
        )  # fmt: skip
    return root


@pytest.mark.slow
def test_nothing_is_counted_twice_or_lost(ingested: Path) -> None:
    found = read_coverage(ingested / "download", ingested / "validate", ingested / "panels")
    counts = json.loads((ingested / "validate" / "counts.json").read_text())
    for state in ("ok", "quarantined", "missing", "removed"):
        total = found.totals.get(state, dict.fromkeys(COUNTS, 0))
        assert total["pages"] == counts["page"][state]
        assert total["panels"] == counts["panel"][state]
        assert total["characters"] + total["dialogs"] == counts["box"][state]
    assert found.totals["all"]["pages"] == SOURCE.num_series * SOURCE.pages_per_series
    assert {row["state"] for row in found.rows} == {"ok", "quarantined", "removed"}
    assert any(row["reason"] == "dead_url_404" for row in found.rows)
    for what in COUNTS:
        assert sum(row[what] for row in found.rows) == found.totals["all"][what]


@pytest.mark.slow
def test_the_split_is_told_once_it_is_made(ingested: Path) -> None:
    found = read_coverage(ingested / "download", ingested / "validate", ingested / "panels")
    split = json.loads((ingested / "panels" / "split.json").read_text())
    of_eval = [row for row in found.rows if row["split"] == "eval"]
    assert sum(row["pages"] for row in of_eval) == len(split["eval"]) == found.held_out["chosen"]
    assert found.held_out["wanted"] == 4
    before = read_coverage(ingested / "download", ingested / "validate", None)
    assert {row["split"] for row in before.rows if row["state"] == "ok"} == {"undecided"}
    assert before.held_out is None
    assert before.held_out_share == 0.0


def page(path: str, *sizes: tuple[int, int]) -> dict:
    return {"image_path": path, "frames": [{"characters": [0] * c, "dialogs": [0] * d} for c, d in sizes]}


def test_numbers_by_hand() -> None:
    raw = [page("a/1", (2, 1), (1, 0)), page("b/1", (1, 1)), {"frames": "?"}, page("a/2", (3, 0))]
    tables = {
        "pages": pd.DataFrame({"page_id": ["p"], "series": ["a"]}),
        "panels": pd.DataFrame({"page_id": ["p"]}),
        "characters": pd.DataFrame({"page_id": ["p"]}),
        "dialogs": pd.DataFrame({"page_id": ["p"]}),
        "quarantine": pd.DataFrame(
            [
                ("quarantined", "panel", 0, 1, "panel_inverted"),
                ("quarantined", "character", 0, 0, "unknown_type"),
                ("missing", "page", 1, None, "dead_url_404"),
                ("quarantined", "page", 2, None, "bad_annotation"),
                ("removed", "page", 3, None, "taken_out"),
            ],
            columns=["state", "level", "entry", "panel_index", "reason"],
        ),
    }
    split = {"eval": [{"page_id": "p", "series": "a"}], "config": {"eval_pages_per_series": 1}}
    found: Coverage = compute_coverage(raw, tables, split)
    rows = {(r["series"], r["state"], r["reason"], r["split"]): tuple(r[w] for w in COUNTS) for r in found.rows}
    assert rows == {
        ("a", "ok", "", "eval"): (1, 1, 1, 1),
        ("a", "quarantined", "panel_inverted", ""): (0, 1, 1, 0),
        ("a", "quarantined", "unknown_type", ""): (0, 0, 1, 0),
        ("a", "removed", "taken_out", ""): (1, 1, 3, 0),
        ("b", "missing", "dead_url_404", ""): (1, 1, 1, 1),
        ("(no usable path)", "quarantined", "bad_annotation", ""): (1, 0, 0, 0),
    }
    assert found.share("pages") == 0.25
    assert found.held_out == {"wanted": 2, "chosen": 1, "lost": 1, "lost_by_series": {"b": 1}}
    assert found.held_out_share == 0.5
