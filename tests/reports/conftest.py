"""A whole run's folders, made up: small drawn panels and plausible tables, in the formats that the stages write."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from diffsensei.config import load_preset
from diffsensei.evaluation.ablations import VARIANTS
from diffsensei.evaluation.results import Comparison, MethodInfo, MetricDefinition, MetricResult, Summary
from diffsensei.study.ballots import Ballot, rater_rows, rule_in_words
from diffsensei.study.preference import tabulate
from diffsensei.study.results import ASPECTS, StudyResult, Tables
from diffsensei.study.simulate import simulate_ballots, simulate_power
from reports.ablations import build_ablations
from reports.site import build_report

SIZES = ((64, 64), (88, 48), (48, 88), (120, 40))
METHODS = (
    ("ground_truth", "Ground truth", "oracle", "oracle: the true panels, scored as if they were generated"),
    ("shuffled_truth", "Shuffled truth", "floor", "floor: for each request, another true panel of the same series"),
    ("sdxl_t2i", "SDXL text-to-image", "method", "the pre-trained UNet; sees the caption only"),
    ("diffsensei_stage1", "DiffSensei without MLLM", "method", "stage 1: caption, references and boxes"),
    ("diffsensei", "DiffSensei", "method", "stage 2: as stage 1, with the MLLM identity adapter"),
)
FIGURES = {
    "fid": (0.0, 1.9, 9.8, 6.1, 5.7),
    "kid": (-0.01, 0.02, 0.4, 0.21, 0.19),
    "clip": (0.312, 0.141, 0.238, 0.229, 0.251),
    "dino_i": (1.0, 0.402, 0.487, 0.611, 0.623),
    "dino_c": (1.0, 0.351, 0.398, 0.583, 0.607),
    "dino_c_source": (0.688, 0.344, 0.381, 0.612, 0.596),
    "dialog_f1": (0.981, 0.104, 0.071, 0.823, 0.836),
    "layout_iou": (0.931, 0.204, 0.171, 0.623, 0.636),
}
LABELS = ("FID", "KID", "CLIP", "DINO-I", "DINO-C", "DINO-C (source)", "Dialog F1", "Layout IoU")
WIDTHS = {"fid": 0.9, "kid": 0.05, "clip": 0.011, "dino_i": 0.03, "dino_c": 0.035, "dino_c_source": 0.03}


@dataclass(frozen=True)
class RunFolders:
    """Everything `build_report` is given."""

    arguments: dict[str, object]
    captions: list[str]


@pytest.fixture
def make_run(tmp_path):
    """``make_run(caption=..., series=...)`` -> `RunFolders` with 8 panels on 4 pages of 2 series."""

    def make(**texts: str) -> RunFolders:
        return build_run(tmp_path, **texts)

    return make


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """A built site, shared; copy it before changing a file that other tests read."""
    base = tmp_path_factory.mktemp("site")
    run = build_run(base)
    ablations = build_rows(run, base / "rows", failed="table_3_row_2")
    build_report(**run.arguments, ablations=ablations, study=build_study(base / "study"))
    return run.arguments["output"]


@pytest.fixture(scope="session")
def two_sets(tmp_path_factory) -> Path:
    """A built site of two evaluation sets, shared as `site` is."""
    base = tmp_path_factory.mktemp("two-sets")
    run = add_second_set(build_run(base), base)
    build_report(**run.arguments)
    return run.arguments["output"]


@pytest.fixture
def visit(browser, site: Path):
    """``visit(address, width)`` -> an open tab of ``folder`` that fails the test on any error or outside request."""
    troubles: list[str] = []
    tabs = []

    def open_tab(address: str, width: int = 1280, folder: Path = site, **options: object):
        tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
        tabs.append(tab)
        tab.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
        tab.on("request", lambda r: None if r.url.startswith(folder.as_uri()) else troubles.append(f"outside: {r.url}"))
        tab.goto(f"{folder.as_uri()}/{address}")
        return tab

    yield open_tab
    for tab in tabs:
        tab.close()
    assert troubles == []


def build_rows(run: RunFolders, base: Path, failed: str = "", reason: str = "stage stage1: out of memory") -> Path:
    """Made-up scores of every row but ``failed``, and what `build_ablations` makes of them."""
    rng = np.random.default_rng(1)
    panels = [json.loads(line) for line in (run.arguments["benchmark"] / "panels.jsonl").read_text().splitlines()]
    scores = {variant.key: base / variant.key for variant in VARIANTS if variant.key != failed}
    for folder in (*scores.values(), base / "ablations"):
        folder.mkdir(parents=True)
    for folder in scores.values():
        build_score(folder, rng, panels)
    failures = {failed: reason} if failed else {}
    arguments = {"config": run.arguments["config"], "workspace": base, "output": base / "ablations"}
    build_ablations(**arguments, failures=failures, **scores)
    return base / "ablations"


METHODS_COMPARED = ("ours", "ours without MLLM", "baseline")


def build_study(folder: Path, methods: tuple[str, ...] = METHODS_COMPARED, careless: str = "rater-002") -> Path:
    """A simulated study of 6 raters, of whom the rule leaves out one, and a simulation of its power."""
    folder.mkdir(parents=True)
    config = load_preset("tiny").study.replaced(num_raters=6, items_per_rater=8, bootstrap_resamples=50)
    strengths = dict(zip(methods, (0.9, 0.2, -0.8), strict=True))
    ballots = simulate_ballots(config, strengths, [f"page-{index}" for index in range(12)], seed=0)
    raters = Counter(ballot.rater for ballot in ballots)
    rows = [
        row.replaced(excluded="median time 1.2 s per set" if row.rater == careless else "")
        for row in rater_rows(ballots, raters, config)
    ]

    def tables(chosen: list[Ballot]) -> Tables:
        names = [aspect.name for aspect in ASPECTS]
        return tabulate(chosen, methods, names, resamples=50, confidence=0.95, seed=0)

    result = StudyResult(
        study="spring",
        form="pairs",
        state="partial: 5 of 6 raters have finished, 1 have begun",
        rule=rule_in_words(config),
        aspects=ASPECTS,
        methods=methods,
        num_page_sets=12,
        confidence=0.95,
        resamples=50,
        raters=tuple(rows),
        kept=tables([ballot for ballot in ballots if ballot.rater != careless]),
        everyone=tables(ballots),
    )
    (folder / "study.json").write_text(result.model_dump_json())
    power = simulate_power(config, num_methods=3, num_pages=12, preferences=(0.6, 0.75), studies=2, seed=0)
    (folder / "power.json").write_text(power.model_dump_json())
    return folder


DREW = {
    "generate_sdxl_t2i": "sdxl_t2i",
    "generate_stage1": "diffsensei_stage1",
    "generate_diffsensei": "diffsensei",
}


def build_run(
    base: Path,
    caption: str = "A girl with long black hair shouts at a boy, close-up, in the rain.",
    series: str = "night-harbour",
    character: str = "mika",
    reason: str = "panel_outside_page",
    num_panels: int = 8,
) -> RunFolders:
    rng = np.random.default_rng(0)
    names = ("validate", "panels", "pretrain", "stage1", "stage2", "benchmark", "generate_sdxl_t2i", "generate_stage1")
    names += ("generate_diffsensei", "score", "bundle", "verify", "provenance", "annotations", "features")
    folders = {name: base / name for name in names}
    for folder in (*folders.values(), base / "workspace", base / "output"):
        folder.mkdir(parents=True)
    panels = _benchmark(folders["benchmark"], rng, caption, series, character, num_panels)
    for name, method in DREW.items():
        _generate(folders[name], rng, panels, method)
    build_score(folders["score"], rng, panels)
    _validate(folders["validate"], reason)
    _split(folders["panels"], reason)
    for place, stage in enumerate(("pretrain", "stage1", "stage2")):
        _training(folders[stage], rng, place)
    (folders["bundle"] / "manifest.json").write_text("{}")
    (folders["verify"] / "verification.json").write_text('{"passed": true}')
    _provenance(folders["provenance"], list(folders))
    config = load_preset("tiny", ["training.stage2.steps=200", "sampling.guidance_scale=2.5"])
    arguments = {"config": config, "workspace": base / "workspace", "output": base / "output"} | folders
    return RunFolders(arguments, [panel["caption"] for panel in panels])


def add_second_set(run: RunFolders, base: Path, num_panels: int = 6) -> RunFolders:
    """The same run with a second evaluation set. Its panels are called as those of the first and are other panels."""
    rng = np.random.default_rng(7)
    folders = {f"evaluation_{name}": base / f"evaluation_{name}" for name in (*DREW, "benchmark", "score")}
    for folder in folders.values():
        folder.mkdir()
    caption = "An old man pours tea beside an open window."
    panels = _benchmark(folders["evaluation_benchmark"], rng, caption, "tea-house", "gen", num_panels, "ink-well")
    for name, method in DREW.items():
        _generate(folders[f"evaluation_{name}"], rng, panels, method)
    build_score(folders["evaluation_score"], rng, panels)
    source = 'data.evaluation_source={"kind": "manga109", "root": "docs", "accept_terms": true}'
    return RunFolders(run.arguments | folders | {"config": load_preset("tiny", [source])}, run.captions)


def _generate(folder, rng, panels, method):
    (folder / "images" / "0").mkdir(parents=True)
    for panel in panels:
        picture = _draw(rng, panel, boxed=method != "sdxl_t2i")
        picture.save(folder / "images" / "0" / f"{panel['panel_id']}.png")
    said = {"method": method, "consumes": ["caption"], "deviations": ["A departure."]}
    (folder / "generation.json").write_text(json.dumps(said))


def _benchmark(folder, rng, caption, series, character, num_panels, other_series="paper-moon"):
    (folder / "truth").mkdir()
    (folder / "references").mkdir()
    panels = []
    for index in range(num_panels):
        width, height = SIZES[index % len(SIZES)]
        characters = [
            {
                "id": f"{character}-{slot}",
                "box": [0.08 + 0.46 * slot, 0.3, 0.46 + 0.46 * slot, 0.97],
                "reference": f"references/panel{index}-{slot}.png",
                "place": f"panel{index}:{slot}",
                "source": f"panel{index ^ 1}:0",
                "source_kind": "other_panel" if slot else "same_panel",
                "type": 0,
            }
            for slot in range(index % 3)
        ]
        panel = {
            "panel_id": f"panel{index}",
            "page_id": f"{index // 2:04d}abcdef",
            "series": series if index % 2 else other_series,
            "panel_index": index % 2,
            "height": height,
            "width": width,
            "caption": caption if index != 3 else "",
            "characters": characters,
            "dialogs": [[0.55, 0.04, 0.95, 0.28]] if index % 4 else [],
            "unfed_dialogs": [],
            "seed": index,
        }
        panels.append(panel)
        _draw(rng, panel, boxed=True).save(folder / "truth" / f"panel{index}.png")
        for slot in range(len(characters)):
            _draw_head(rng).save(folder / "references" / f"panel{index}-{slot}.png")
    (folder / "panels.jsonl").write_text("".join(json.dumps(panel) + "\n" for panel in panels))
    return panels


def _draw(rng, panel, boxed):
    width, height = panel["width"], panel["height"]
    image = Image.fromarray(rng.integers(150, 235, size=(height, width), dtype=np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(5):
        x, y = rng.integers(0, width), rng.integers(0, height)
        pen.line([(x, 0), (y, height)], fill=int(rng.integers(0, 120)))
    for kind, box in [("head", c["box"]) for c in panel["characters"]] + [("bubble", d) for d in panel["dialogs"]]:
        shift = 0 if boxed else rng.uniform(-0.3, 0.3)
        xy = [(box[0] + shift) * width, box[1] * height, (box[2] + shift) * width, box[3] * height]
        pen.ellipse(xy, fill=255 if kind == "bubble" else 210, outline=0, width=1)
        if kind == "head":
            pen.pieslice(xy, 180, 360, fill=int(rng.integers(0, 90)))
    return image


def _draw_head(rng):
    image = Image.new("L", (int(rng.integers(22, 34)), int(rng.integers(30, 44))), 240)
    pen = ImageDraw.Draw(image)
    pen.ellipse([2, 6, image.width - 3, image.height - 4], fill=250, outline=0)
    pen.pieslice([2, 3, image.width - 3, image.height - 6], 180, 360, fill=int(rng.integers(0, 120)))
    return image


def build_score(folder, rng, panels):
    """The score stage's folder, with figures that are made up."""
    metrics = tuple(
        MetricDefinition(
            name=name,
            label=label,
            definition=f"how {label} is computed, with judge and fit",
            unit="cosine, -1 to 1",
            higher_is_better=name not in ("fid", "kid"),
            source="paper, section 5.1",
            group="manga" if name == "layout_iou" else "headline",
        )
        for name, label in zip(FIGURES, LABELS, strict=True)
    )
    results = []
    for metric in metrics:
        for (method, *_), value in zip(METHODS, FIGURES[metric.name], strict=True):
            half = WIDTHS.get(metric.name, 0.05)
            skipped = {"no characters": 3} if metric.name.startswith("dino_c") else {}
            results.append(
                MetricResult(
                    method=method,
                    metric=metric.name,
                    value=value,
                    low=value - half,
                    high=value + half,
                    n_used=97 - sum(skipped.values()),
                    n_total=97,
                    skipped=skipped,
                    state="computed",
                    definition=metric.definition,
                    unit=metric.unit,
                    higher_is_better=metric.higher_is_better,
                    interval="page bootstrap, 2000 resamples, percentile",
                    by_seed={},
                )
            )
    comparisons = tuple(
        Comparison(
            metric=metric,
            method="diffsensei",
            baseline=baseline,
            difference=difference,
            low=difference - 0.02,
            high=difference + 0.02,
            p_value=0.001 if abs(difference) > 0.02 else 0.3,
            p_holm=0.008 if abs(difference) > 0.02 else 1.0,
            n_pages=16,
        )
        for metric, baseline, difference in (
            ("clip", "sdxl_t2i", 0.013),
            ("clip", "diffsensei_stage1", 0.022),
            ("dino_c", "sdxl_t2i", 0.209),
            ("dino_c_source", "diffsensei_stage1", -0.026),
            ("dialog_f1", "sdxl_t2i", 0.765),
        )
    )
    summary = Summary(
        metrics=metrics,
        methods=tuple(MethodInfo(name=n, label=lb, role=r, description=d) for n, lb, r, d in METHODS),
        results=tuple(results),
        comparisons=comparisons,
        num_series=8,
        num_pages=16,
        num_panels=97,
        num_characters=131,
        num_dialogs=88,
        seeds=(0,),
        confidence=0.95,
        resamples=2000,
        judges={"clip": "embedded:judge_clip", "dino": "embedded:judge_dino", "dialog_detector": "embedded:d"},
    )
    (folder / "summary.json").write_text(summary.model_dump_json())
    rows = []
    for method, *_ in METHODS:
        for panel in panels:
            base = {"method": method, "seed": 0, "page_id": panel["page_id"], "series": panel["series"]}
            base |= {"panel_id": panel["panel_id"], "character": None, "skipped": None}
            rows += [
                base | {"metric": metric, "value": float(rng.uniform(0.1, 0.9))}
                for metric in ("clip", "dino_i", "dino_c")
            ]
            rows.append(base | {"metric": "dialog_f1", "value": 0.5, "tp": 1, "fp": int(rng.integers(0, 3)), "fn": 1})
    items = pd.DataFrame(rows).astype({"tp": "Int64", "fp": "Int64", "fn": "Int64"})
    items.to_parquet(folder / "items.parquet", index=False)


def _validate(folder, reason):
    counts = {
        "page": {"input": 256, "ok": 249, "quarantined": 4, "missing": 2, "removed": 1},
        "panel": {"input": 1530, "ok": 1478, "quarantined": 35, "missing": 12, "removed": 5},
        "box": {"input": 3190, "ok": 3050, "quarantined": 99, "missing": 40, "removed": 1},
    }
    (folder / "counts.json").write_text(json.dumps(counts))
    checks = [
        {
            "id": code,
            "reason": name,
            "title": title,
            "severity": severity,
            "table": table,
            "evaluated": 1478,
            "unexpected": failed,
            "success": not failed,
            "examples": [],
        }
        for code, name, title, severity, table, failed in (
            ("D1", "bad_annotation", "entry follows the schema", "quarantine", "pages", 0),
            ("D5", "panel_outside_page", "box leaves its page by at most 2 px", "quarantine", "panels", 7),
            ("D8", "extreme_aspect", "aspect fits a bucket", "warning", "panels", 12),
            ("supply", "missing", "halves could be fetched", "missing", "pages", 3),
        )
    ]
    states = {"input": 32, "ok": 30, "quarantined": 1, "missing": 1, "removed": 0}
    series = [states | {"series": name, "panels": 190, "misordered": 2, "colour": 0} for name in ("series-0", reason)]
    drift = {"name": "caption_tokens", "distance": 0.13, "mean": 51.0, "mean_before": 44.5, "severity": "warning"}
    report = {"checks": checks, "suites": {}, "reasons": {}, "series": series, "drift": [drift]}
    report |= {"unknown_keys": {reason: 3}, "waivers": {"applied": [{}], "refused": [], "unused": []}}
    (folder / "validation.json").write_text(json.dumps(report))
    distribution = {
        "count": 30,
        "mean": 3.0,
        "quantiles": [1, 1, 2, 3, 4, 5, 6],
        "edges": [2, 4],
        "histogram": [9, 15, 6],
    }
    names = ("panels_per_page", "panel_side_px", "caption_tokens", "characters_per_panel", "dialogs_per_panel")
    statistics = {"distributions": dict.fromkeys((*names, "page_width_px"), distribution)}
    (folder / "statistics.json").write_text(json.dumps(statistics | {"share_of_captions_truncated": 0.125}))
    rows = [
        {
            "state": "quarantined",
            "level": "panel",
            "id": f"page{i}-2",
            "check": "D5",
            "reason": reason,
            "evidence": "x1=-9.0",
        }
        for i in range(7)
    ]
    pd.DataFrame(rows).to_parquet(folder / "quarantine.parquet")


def _split(folder, reason):
    repeated = {"compared": 40, "near_blank": 1, "repeated": 1, "examples": [{"eval": "page1-0", "train": reason}]}
    split = {"eval": [{}] * 4, "next_to_a_training_page": 3, "panels_drawn_again_in_training": repeated}
    (folder / "split.json").write_text(json.dumps(split))


def _training(folder, rng, place):
    (folder / "training.json").write_text("{}")
    (folder / "logs").mkdir()
    lines = []
    for step in range(10, 460, 10):
        line = {"step": step, "train/loss": 0.2 + np.exp(-step / 90) + rng.normal(0, 0.02)}
        if place == 2:
            line |= {"train/lm": 3 * np.exp(-step / 60) + 0.05, "train/rec": 0.8 * np.exp(-step / 200)}
        lines.append(line | {"optim/lr": 1e-3, "perf/panels_per_s": 31.0 + rng.normal()})
    (folder / "logs" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _provenance(folder, names):
    stages = {
        name: {
            "digest": f"{index:064x}",
            "stage": {"name": name, "version": 1, "key": f"{index + 99:064x}", "attempt": 1 + (name == "stage1")},
            "inputs": {},
            "job": {"backend": "local", "id": str(index), "started": "", "wall_s": 3.0 + 41.7 * index, "exit": 0},
            "env": {
                "python": "3.11.2",
                "platform": "Linux-6.1-x86_64",
                "host": "workstation",
                "cpu": "Some Processor 3000",
                "num_cores": 2,
                "memory_bytes": 24 * 2**30,
                "num_threads": 2,
                "gpus": [],
                "packages": {"torch": "2.13.0", "numpy": "2.4.6", "tqdm": "4.67.1"},
            },
            "git": {"commit": "f564502c0ffee", "dirty": False},
            "num_files": 12 * index,
            "num_bytes": 3_141_592 * index,
            "created": "2026-01-05T12:34:56.000000+00:00",
        }
        for index, name in enumerate(names)
    }
    (folder / "provenance.json").write_text(json.dumps({"config_digest": "0" * 64, "stages": stages}))
