"""Every defect of a synthetic world gets the verdict that its ground truth demands; nothing is lost on the way."""

import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diffsensei.config.presets import tiny
from diffsensei.config.schema import DownloadConfig, SplitConfig, SyntheticSource
from diffsensei.data.download import fetching
from diffsensei.data.download.pages import download_pages
from diffsensei.data.images import decode_own_png
from diffsensei.data.page_paths import page_id_of
from diffsensei.data.panels.cutting import cut_panels
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.data.sources.annotations import collect_annotations
from diffsensei.data.synthetic.defects import DEFECTS
from diffsensei.data.validation import ledger
from diffsensei.data.validation.pages import validate_pages

pytestmark = pytest.mark.slow

SOURCE = SyntheticSource(num_series=2, pages_per_series=44, page_height=192, seed=1482, defect_rate=0.8)
"""With this seed every kind of defect occurs."""
DATA = tiny().data
TEXT_ENCODER = tiny().model.foundations.text_encoder
DOWNLOAD: DownloadConfig = DATA.download
VALIDATION = DATA.validation.replaced(max_quarantine_rate=1.0, min_panel_side=16)
REASONS = {
    "dead_url": "dead_url_404",
    "truncated_image": "truncated_image",
    "wrong_image": "sha256_mismatch",
    "not_an_image": "not_an_image",
    "path_traversal": "bad_path",
    "duplicate_path": "duplicate_path",
    "missing_url2": "bad_annotation",
    "wrong_width1": "geometry_mismatch",
    "non_numeric_box": "bad_annotation",
    "panel_outside_page": "panel_outside_page",
    "inverted_panel": "panel_inverted",
    "nan_panel": "panel_not_finite",
    "empty_caption": "empty_caption",
    "inverted_character": "character_inverted",
    "unknown_type": "unknown_type",
    "dialog_outside_panel": "dialog_outside_panel",
    "panel_slightly_outside": "panel_clamped",
    "duplicate_character_id": "duplicate_character_id",
    "rescaled_half": "rescaled_page",
    "no_panels": "no_panels",
    "unknown_key": "unknown_keys",
    "colour_page": "colour_page",
    "reversed_order": "reading_order",
    "tiny_panel": "panel_too_small",
    "control_characters": "control_characters",
    "refusal_caption": "refusal_caption",
    "endless_caption": "endless_caption",
    "html_caption": "html_caption",
    "long_caption": "long_caption",
    "extreme_aspect": "extreme_aspect",
    "many_characters": "many_characters",
    "many_dialogs": "many_dialogs",
    "dialog_covers_panel": "dialogs_cover_panel",
    "small_character": "small_character",
    "lonely_character": "no_other_reference",
    "character_mostly_outside": "character_mostly_outside",
}


@dataclass(frozen=True)
class Ingested:
    """Result folders of the stages, and the ground truth."""

    root: Path
    world: dict[str, Any]
    annotations: list[dict[str, Any]]

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.root / "validated" / f"{name}.parquet")

    def json(self, path: str) -> Any:
        return json.loads((self.root / path).read_text())


def folder(root: Path, name: str) -> Path:
    (root / name).mkdir()
    return root / name


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    root = tmp_path_factory.mktemp("ingested")
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as executor:
        patch.setattr(fetching, "BACKOFF_S", 0.01)
        patch.setattr(ledger, "NUM_EXAMPLES", 10**6)
        annotations = folder(root, "annotations")
        collect_annotations(source=SOURCE, workspace=folder(root, "w0"), output=annotations)
        downloaded = folder(root, "downloaded")
        download_pages(
            source=SOURCE,
            download=DOWNLOAD,
            library=root / "library",
            limits=root / "limits",
            annotations=annotations,
            workspace=folder(root, "w1"),
            output=downloaded,
        )
        validate_pages(
            validation=VALIDATION,
            download=DOWNLOAD,
            annotations=downloaded,
            download_dir=downloaded,
            workspace=folder(root, "w2"),
            output=folder(root, "validated"),
            executor=executor,
            buckets=DATA.buckets,
            text_encoder=TEXT_ENCODER,
        )
    world = json.loads((annotations / "world.json").read_text())
    return Ingested(root, world, json.loads((annotations / "annotations.json").read_text()))


def test_every_defect_gets_its_verdict(ingested: Ingested) -> None:
    quarantine = ingested.table("quarantine")
    checks = {check["reason"]: check for check in ingested.json("validated/validation.json")["checks"]}
    seen = set()
    expected_rows: Counter[tuple[str, str]] = Counter()
    for entry, page in enumerate(ingested.world["pages"]):
        defect = page["defect"]
        rows = quarantine[quarantine["entry"] == entry]
        if defect is None:
            assert rows.empty, f"a sound page is set aside: {rows.iloc[0].to_dict()}"
            continue
        seen.add(defect["kind"])
        reason = REASONS[defect["kind"]]
        if defect["verdict"] == "warning":
            assert rows.empty
            assert checks[reason]["severity"] == "warning"
            assert any(example.startswith(page_id_of(page["image_path"])) for example in checks[reason]["examples"])
            continue
        assert len(rows) == 1, f"{defect}: {rows}"
        row = rows.iloc[0]
        assert (row["state"], row["level"], row["reason"]) == (defect["verdict"], defect["level"], reason)
        assert row["evidence"]
        for place in ("panel_index", "box_index"):
            if place in defect and defect["level"] != "page":
                assert row[place] == defect[place]
        expected_rows[(row["level"], row["reason"])] += 1
    assert seen == set(DEFECTS)
    reasons = ingested.json("validated/validation.json")["reasons"]
    assert {(level, name): count for level in reasons for name, count in reasons[level].items()} == expected_rows


def test_counts_add_up(ingested: Ingested) -> None:
    counts = ingested.json("validated/counts.json")
    frames = [frame for page in ingested.annotations for frame in page["frames"]]
    boxes = sum(len(frame["characters"]) + len(frame["dialogs"]) for frame in frames)
    assert {level: counts[level]["input"] for level in counts} == {
        "page": len(ingested.annotations),
        "panel": len(frames),
        "box": boxes,
    }
    for level in counts.values():
        assert level["input"] == sum(level[state] for state in ("ok", "quarantined", "missing", "removed"))
        assert level.pop("missing") == 0  # the world is whole but for what was taken down
        assert min(level.values()) > 0
    assert counts["panel"]["ok"] == len(ingested.table("panels"))
    assert counts["page"]["ok"] == len(ingested.table("pages"))


def test_accepted_pages_are_the_drawn_ones(ingested: Ingested) -> None:
    """Stitched pages equal the served halves side by side; their stored boxes lie on them."""
    pages = ingested.table("pages").set_index("page_id")
    files = {path.stem for path in (ingested.root / "validated" / "pages").iterdir()}
    assert files == set(pages.index)
    exact = pages[~pages["rescaled"] & (pages["chroma"] == 0)]
    assert 5 < len(exact) < len(pages)
    for page_id, row in exact.iterrows():
        meta = ingested.annotations[row["page_index"]]["meta"]
        served = [ingested.root / "annotations/served" / meta[name].split("/", 3)[3] for name in ("url1", "url2")]
        page = decode_own_png((ingested.root / f"validated/pages/{page_id}.png").read_bytes())
        np.testing.assert_array_equal(page, np.hstack([decode_own_png(path.read_bytes()) for path in served]))
        assert page.shape == (row["height"], row["width"])
    for name in ("panels", "characters", "dialogs"):
        table = ingested.table(name).merge(pages[["height", "width"]], left_on="page_id", right_index=True)
        assert len(table)
        assert (table[["x1", "y1"]] >= 0).all().all()
        assert (table["x2"] <= table["width"]).all()
        assert (table["y2"] <= table["height"]).all()


def test_too_many_quarantined_pages_stop_the_run(ingested: Ingested, tmp_path: Path) -> None:
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(ValueError, match=r"max_quarantine_rate=0\.1 allows") as caught,
    ):
        validate_pages(
            validation=VALIDATION.replaced(max_quarantine_rate=0.1),
            download=DOWNLOAD,
            annotations=ingested.root / "downloaded",
            download_dir=ingested.root / "downloaded",
            workspace=folder(tmp_path, "workspace"),
            output=folder(tmp_path, "output"),
            executor=executor,
        )
    assert "\n" not in str(caught.value)
    assert "dead_url" not in str(caught.value)  # missing pages are no fault of the data
    assert not pd.read_parquet(tmp_path / "workspace" / "quarantine.parquet").empty


def digests(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "logs" not in path.parts
    }


def test_number_of_workers_changes_no_byte(ingested: Ingested, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads or processes, one or two: same pages, tables, panel sets."""
    monkeypatch.setattr("diffsensei.data.validation.pages.PAGES_PER_TASK", 3)
    monkeypatch.setattr(ledger, "NUM_EXAMPLES", 10**6)
    monkeypatch.setattr("diffsensei.data.panels.cutting.MAX_SHARD_PAGES", 3)
    results = []
    for name, executor in (("one", ThreadPoolExecutor(1)), ("two", ProcessPoolExecutor(2))):
        with executor:
            validated, panels = folder(tmp_path, f"validated-{name}"), folder(tmp_path, f"panels-{name}")
            validate_pages(
                validation=VALIDATION,
                download=DOWNLOAD,
                annotations=ingested.root / "downloaded",
                download_dir=ingested.root / "downloaded",
                workspace=folder(tmp_path, f"w1-{name}"),
                output=validated,
                executor=executor,
                buckets=DATA.buckets,
                text_encoder=TEXT_ENCODER,
            )
            cut_panels(
                split=SplitConfig(eval_pages_per_series=1, min_panels=3),
                validated=validated,
                workspace=folder(tmp_path, f"w2-{name}"),
                output=panels,
                executor=executor,
            )
        results.append((digests(validated), digests(panels)))
    assert results[0] == results[1]
    assert results[0][0] == digests(ingested.root / "validated")
    assert len(PanelSet(tmp_path / "panels-two" / "train")) > 10
