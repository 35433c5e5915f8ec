"""Scoring from features that are there: the Frechet distance, kernel intervals, and a whole run of seven methods."""

import time
from collections.abc import Iterator
from functools import partial

import diffsensei.models.torchvision_schemas  # noqa: F401

# isort: split

import numpy as np
import pandas as pd
from cleanfid import fid

from diffsensei.config.presets import tiny
from diffsensei.evaluation.benchmark import BenchmarkCharacter, BenchmarkPanel
from diffsensei.evaluation.fid import Features, frechet_distance
from diffsensei.evaluation.judges import Judges
from diffsensei.evaluation.kid import cubic_kernels, kernel_distance
from diffsensei.evaluation.measurements import Request, measure
from diffsensei.evaluation.results import GROUND_TRUTH, ITEM_COLUMNS, SHUFFLED_TRUTH, Summary
from diffsensei.evaluation.sight import PanelFeatures
from diffsensei.evaluation.summary import METHODS, summarise
from diffsensei.evaluation.unbiased_mmd import mmd_without_pages
from tests.benchmarks.interleaved import Case

PANELS, PER_PAGE, WIDTH = 1000, 10, 768
RUNS = [(GROUND_TRUTH, 0), (SHUFFLED_TRUTH, 0), *((method, seed) for method in list(METHODS)[:2] for seed in (0, 1))]
RUNS.append((list(METHODS)[2], 0))
"""Seven sets of panels."""
STATE = {"expression": "happy", "pose": "waving", "facing": "left", "distance": "close"}


def cases() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 256)), rng.normal(0.1, 1.1, size=(200, 256))
    mixed = rng.normal(size=(256, 256)) / 16
    yield Case(
        name="Frechet distance, 2 x 200 panels, 256 features",
        check=partial(_check_frechet, a @ mixed, b @ mixed),
        plain=partial(fid.fid_from_feats, a @ mixed, b @ mixed),
        ours=partial(frechet_distance, a @ mixed, b @ mixed),
        goal=0.0,
    )
    pages = np.repeat(np.arange(40), 5)
    yield Case(
        name="KID without each of 40 pages, 2 x 200 panels",
        check=partial(_check_jackknife, a, b, pages),
        plain=partial(_again_without_each, a, b, pages),
        ours=partial(_sums_without_each, a, b, pages),
        goal=10.0,
    )


def run_seconds() -> float:
    """Seconds from features to the table: 1,000 panels of 100 pages by seven sets, after checking a mean."""
    panels, request, sets = _run(np.random.default_rng(0), PANELS)
    started = time.perf_counter()
    summary = _score(panels, request, sets)
    seconds = time.perf_counter() - started
    check_run(request, sets, summary)
    return seconds


def frechet_lines() -> list[str]:
    """The Frechet distance at the size of a real benchmark; raises AssertionError unless both agree within 1e-6."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, 2049) ** -0.5
    a, b = (rng.normal(shift, 1, size=(950, 2048)) * spectrum for shift in (0.0, 0.1))
    seconds, values = [], []
    for compute in (frechet_distance, fid.fid_from_feats):
        began = time.process_time()
        values.append(float(compute(a, b)))
        seconds.append(time.process_time() - began)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)
    ours, plain = seconds
    return [
        f"Frechet distance, 2 x 950 panels, 2048 features: {ours:.2f} s against clean-fid's {plain:.1f} s of processor "
        f"time, {plain / ours:.0f} times faster (goal 50), once"
    ]


def check_run(request: Request, sets: dict[tuple[str, int], PanelFeatures], summary: Summary) -> None:
    """CLIP of the last set, from its features at once."""
    method, seed = RUNS[-1]
    images, texts = (np.array(rows, dtype=np.float64) for rows in (sets[method, seed].clips[0], request.captions[0]))
    cosines = np.sum(images * texts, axis=1) / np.linalg.norm(images, axis=1) / np.linalg.norm(texts, axis=1)
    result = summary.result(method, "clip")
    assert result is not None
    assert result.value is not None
    np.testing.assert_allclose(result.value, cosines.mean(), rtol=1e-9)


def small_run() -> tuple[Request, dict[tuple[str, int], PanelFeatures], Summary]:
    """The same with 60 panels."""
    panels, request, sets = _run(np.random.default_rng(0), 60)
    return request, sets, _score(panels, request, sets)


def _run(
    rng: np.random.Generator, count: int
) -> tuple[list[BenchmarkPanel], Request, dict[tuple[str, int], PanelFeatures]]:
    panels = [benchmark_panel(index) for index in range(count)]
    truth = rng.normal(size=(count, WIDTH)).astype(np.float32)
    sets = {
        run: _seen(truth + noise * rng.normal(size=truth.shape).astype(np.float32), rng)
        for run, noise in zip(RUNS, (0.0, 2.0, 1.5, 1.5, 1.0, 1.0, 0.8), strict=True)
    }
    references = [[vector] for vector in truth]
    states = [[STATE] for _ in panels]
    request = Request(panels, references, [list(truth)], sets[GROUND_TRUTH, 0], states, ("pose", "facing"))
    return panels, request, sets


def benchmark_panel(index: int) -> BenchmarkPanel:
    """A small panel of a page of its own place, with one character and one dialog."""
    page = index // PER_PAGE
    character = BenchmarkCharacter(
        id=str(index % 2),
        box=(0.1, 0.1, 0.9, 0.9),
        reference="r.png",
        source_kind="other_panel",
        place=f"p{index}:0",
        source=f"p{index ^ 1}:0",
        type=0,
    )
    return BenchmarkPanel(
        panel_id=f"p{index}",
        page_id=f"page{page:03d}",
        series=f"series{page % 8}",
        panel_index=index % PER_PAGE,
        height=64,
        width=96,
        caption="someone looks up",
        characters=(character,),
        dialogs=((0.5, 0.05, 0.95, 0.3),),
        unfed_dialogs=(),
    )


def _seen(vectors: Features, rng: np.random.Generator) -> PanelFeatures:
    count = len(vectors)
    boxes = np.array([48.0, 3, 91, 19]) + rng.normal(0, 3, size=(count, 1, 4))
    rows = list(vectors)
    return PanelFeatures(
        present=[True] * count,
        clips=[rows],
        dino=rows,
        distribution=rows,
        first_pool=[None] * count,
        crops=[[row] for row in rows],
        dialogs=list(boxes),
        people=[None] * count,
        chroma=[0.0] * count,
        states=[[STATE] for _ in rows],
    )


def _score(panels: list[BenchmarkPanel], request: Request, sets: dict[tuple[str, int], PanelFeatures]) -> Summary:
    missing = {"first_pool": "no Inception here", "characters": "no Magi here"}
    judges = Judges((None,), None, None, None, None, None, missing, {})
    evaluation = tiny().evaluation.replaced(seeds=(0, 1))
    rows = [
        {"method": method, "seed": seed} | row
        for (method, seed), seen in sets.items()
        for row in measure(request, seen, evaluation, missing)
    ]
    items = pd.DataFrame(rows, columns=list(ITEM_COLUMNS)).astype(
        {"value": "float64", "tp": "Int64", "fp": "Int64", "fn": "Int64"}
    )
    return summarise(panels, items, sets, judges, evaluation, benchmark="", said={method: {} for method, _ in sets})


def _check_frechet(a: Features, b: Features) -> None:
    np.testing.assert_allclose(frechet_distance(a, b), fid.fid_from_feats(a, b), rtol=1e-4)


def _sums_without_each(a: Features, b: Features, pages: np.ndarray) -> np.ndarray:
    return mmd_without_pages(cubic_kernels(a, b), pages, pages, pages.max() + 1)


def _again_without_each(a: Features, b: Features, pages: np.ndarray) -> np.ndarray:
    return np.array([kernel_distance(a[pages != page], b[pages != page]) for page in range(pages.max() + 1)])


def _check_jackknife(a: Features, b: Features, pages: np.ndarray) -> None:
    np.testing.assert_allclose(_sums_without_each(a, b, pages), _again_without_each(a, b, pages), rtol=1e-9)
