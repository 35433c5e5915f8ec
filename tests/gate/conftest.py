"""Scores of two methods with differences that are known, a bundle of one file, and the rest of what a gate reads."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diffsensei.config import load_preset
from diffsensei.config.gate import GateConfig, GateRule
from diffsensei.evaluation.comparability import benchmark_digest
from diffsensei.evaluation.dialog_f1 import DIALOG_F1
from diffsensei.evaluation.dino_similarity import DINO_C
from diffsensei.evaluation.fid import FID
from diffsensei.evaluation.results import ITEM_COLUMNS, MethodInfo, MetricDefinition, MetricResult, Summary
from diffsensei.gate.decide import certify
from diffsensei.release.manifest import write_manifest

PAGES = 20
PANELS = 4
CONFIG = load_preset("tiny")


def rule(**changes: Any) -> GateRule:
    """DINO-C of DiffSensei above text-to-image's, unless ``changes`` say otherwise."""
    usual: dict[str, Any] = {
        "name": "identity",
        "metric": "dino_c",
        "against": {"kind": "method", "method": "sdxl_t2i"},
        "direction": "higher",
        "claim": "superior",
        "margin": 0.0,
        "alpha": 0.05,
        "min_pages": 8,
    }
    return GateRule.model_validate(usual | changes)


def gate(*rules: GateRule, **changes: Any) -> GateConfig:
    usual: dict[str, Any] = {"rules": rules, "study": None, "require_clean_code": False, "release": "automatic"}
    return GateConfig.model_validate(usual | changes)


@dataclass
class Candidate:
    """Folders as the stages leave them."""

    root: Path
    bundle: Path
    verify: Path
    score: Path
    benchmark: Path
    panels: Path
    count: int = field(default=0)

    def certify(self, rules: GateConfig, version: str = "0.1.0", **further: Any) -> Path:
        """Run the stage; the folder of its result."""
        self.count += 1
        output, workspace = self.root / f"gate-{self.count}", self.root / f"workspace-{self.count}"
        output.mkdir()
        workspace.mkdir()
        certify(
            gate=rules,
            release=CONFIG.release.replaced(version=version),
            evaluation=CONFIG.evaluation,
            configuration="c" * 64,
            bundle=self.bundle,
            verify=self.verify,
            score=self.score,
            benchmark=self.benchmark,
            panels=self.panels,
            workspace=workspace,
            output=output,
            **further,
        )
        return output


def write_scores(folder: Path, gains: dict[str, float], digest: str, *, spread: float = 0.05, absent: int = 0) -> Path:
    """``items.parquet`` and ``summary.json``: DINO-C of each method is a page's base plus its gain plus noise.

    ``absent``: panels of diffsensei that were not generated.
    """
    rng = np.random.default_rng(0)
    base = rng.normal(0.4, 0.1, PAGES)
    rows = []
    for method, gain in gains.items():
        for page in range(PAGES):
            for panel in range(PANELS):
                missing = method == "diffsensei" and page * PANELS + panel < absent
                common = {
                    "method": method,
                    "seed": 0,
                    "page_id": f"page{page}",
                    "series": "s",
                    "panel_id": f"page{page}-{panel}",
                    "skipped": "not generated" if missing else None,
                }
                value = None if missing else base[page] + gain + rng.normal(0, spread)
                rows.append(common | {"metric": "dino_c", "character": "0:a", "value": value})
                found = int(rng.random() < 0.5 + gain)
                counts = {"tp": None if missing else found, "fp": 0, "fn": None if missing else 1 - found}
                rows.append(common | {"metric": "dialog_f1", "value": None} | counts)
    items = pd.DataFrame(rows, columns=list(ITEM_COLUMNS)).astype(
        {"value": "float64", "tp": "Int64", "fp": "Int64", "fn": "Int64"}
    )
    folder.mkdir(parents=True)
    items.to_parquet(folder / "items.parquet", index=False)
    results = []
    for method, gain in gains.items():
        dino = items[(items["method"] == method) & (items["metric"] == "dino_c")]["value"]
        results.append(_cell(method, DINO_C, float(dino.mean()), 0.02, absent if method == "diffsensei" else 0))
        results.append(_cell(method, DIALOG_F1, 0.5 + gain, 0.1, 0))
        results.append(_cell(method, FID, 30.0 - 20 * gain, 2.0, 0))
    summary = Summary(
        metrics=tuple(_described(each) for each in (DINO_C, DIALOG_F1, FID)),
        methods=tuple(MethodInfo(name=name, label=name, role="method", description="") for name in gains),
        results=tuple(results),
        comparisons=(),
        num_series=1,
        num_pages=PAGES,
        num_panels=PAGES * PANELS,
        num_characters=PAGES * PANELS,
        num_dialogs=PAGES * PANELS,
        seeds=(0,),
        confidence=0.95,
        resamples=2000,
        judges={},
        benchmark_digest=digest,
    )
    (folder / "summary.json").write_text(summary.model_dump_json())
    return folder


def _described(definition: MetricDefinition) -> MetricDefinition:
    return definition.replaced(digest=hashlib.sha256(definition.name.encode()).hexdigest())


def _cell(method: str, metric: MetricDefinition, value: float, half: float, absent: int) -> MetricResult:
    return MetricResult(
        method=method,
        metric=metric.name,
        value=value,
        low=value - half,
        high=value + half,
        n_used=PAGES * PANELS - absent,
        n_total=PAGES * PANELS,
        skipped={"not generated": absent} if absent else {},
        state="computed",
        definition=metric.definition,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        interval="",
        by_seed={},
    )


def make_candidate(root: Path, **scored: Any) -> Candidate:
    """A candidate whose DiffSensei is 0.1 above text-to-image in DINO-C, unless ``scored`` says otherwise."""
    folders = {name: root / name for name in ("bundle", "verify", "benchmark", "panels")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    (folders["bundle"] / "weights.safetensors").write_bytes(b"weights")
    write_manifest(folders["bundle"], CONFIG.release.name, "0.1.0")
    (folders["verify"] / "verification.json").write_text('{"passed": true}')
    (folders["panels"] / "split.json").write_text('{"eval": []}')
    (folders["benchmark"] / "panels.jsonl").write_text(json.dumps({"panel_id": "page0-0"}) + "\n")
    gains = scored.pop("gains", {"diffsensei": 0.1, "sdxl_t2i": 0.0})
    score = write_scores(root / "score", gains, benchmark_digest(folders["benchmark"]), **scored)
    return Candidate(root=root, score=score, **folders)


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    return make_candidate(tmp_path / "candidate")


@pytest.fixture
def candidates(tmp_path: Path) -> Callable[..., Candidate]:
    """Makes candidates by name, with arguments of `make_candidate`."""
    return lambda name, **scored: make_candidate(tmp_path / name, **scored)
