import json
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diffsensei.evaluation import features, judges
from diffsensei.evaluation.benchmark import read_benchmark
from diffsensei.evaluation.comparability import benchmark_digest, comparable
from diffsensei.evaluation.item_metrics import item_metrics
from diffsensei.evaluation.results import ITEM_COLUMNS, read_summary
from diffsensei.evaluation.score import score_methods, shuffle_within_series
from diffsensei.evaluation.statistics import f1_of_counts
from diffsensei.evaluation.summary import define_metrics
from diffsensei.foundations import judge_encoders
from tests.magi.tiny_magi import write_tiny_magi


@pytest.fixture(autouse=True)
def _exact_detector(monkeypatch):
    """A detector that is right by construction, so that F1 has a known answer."""
    from tests.evaluation.conftest import WhiteAreaDetector

    monkeypatch.setattr(judges, "load_dialog_detector", lambda reference: WhiteAreaDetector())


def _score(evaluation, benchmark, generated, base):
    output, workspace = base / "score", base / "work"
    output.mkdir(parents=True)
    workspace.mkdir()
    score_methods(
        evaluation=evaluation,
        benchmark=benchmark,
        features=base / "features",
        workspace=workspace,
        output=output,
        **generated,
    )
    return read_summary(output), pd.read_parquet(output / "items.parquet")


def test_known_answers(evaluation, benchmark, generated, tmp_path):
    summary, items = _score(evaluation, benchmark, generated, tmp_path)
    value = lambda method, metric: summary.result(method, metric).value  # noqa: E731
    for method in ("ground_truth", "diffsensei"):
        assert value(method, "fid") == pytest.approx(0, abs=1e-6)
        assert value(method, "dino_i") == pytest.approx(1)
        assert value(method, "dino_c") == pytest.approx(1)
        assert value(method, "dialog_f1") == 1
    assert value("diffsensei_stage1", "dialog_f1") == 0
    assert value("sdxl_t2i", "dialog_f1") == 0
    assert value("sdxl_t2i", "fid") > value("diffsensei_stage1", "fid") > 0
    assert value("diffsensei", "clip") == value("ground_truth", "clip")
    assert value("shuffled_truth", "dino_i") < 1
    assert tuple(items.columns) == ITEM_COLUMNS


def test_nothing_is_left_out_silently(evaluation, benchmark, generated, tmp_path):
    summary, _ = _score(evaluation, benchmark, generated, tmp_path)
    for result in summary.results:
        assert result.n_used + sum(result.skipped.values()) == result.n_total, result
    clip = summary.result("diffsensei", "clip")
    assert (clip.n_used, clip.skipped) == (9, {"no caption": 3})
    identity = summary.result("diffsensei", "dino_c")
    assert (identity.n_used, identity.n_total) == (8, 8)  # characters, not panels
    dialogs = summary.result("diffsensei", "dialog_f1")
    assert (dialogs.n_used, dialogs.skipped) == (8, {"no dialog requested, none found": 4})


def test_summary_can_be_recomputed_from_items(evaluation, benchmark, generated, tmp_path):
    summary, items = _score(evaluation, benchmark, generated, tmp_path)
    metrics = {metric.definition.name: metric for metric in item_metrics(evaluation)}
    for result in summary.results:
        if result.metric not in metrics:
            assert items[items["metric"] == result.metric].empty
            continue
        metric = metrics[result.metric]
        mine = items[(items["method"] == result.method) & items["metric"].isin(metric.items) & items["skipped"].isna()]
        if metric.kind == "mean" and result.value is not None:
            assert result.value == pytest.approx(mine["value"].mean())
        elif metric.kind == "panel_mean":
            assert result.value == pytest.approx(mine.groupby("panel_id")["value"].mean().mean())
        elif metric.kind == "f1":
            counts = mine[["tp", "fp", "fn"]].sum().to_numpy(dtype=float)
            assert result.value == pytest.approx(float(f1_of_counts(counts)))
        elif metric.kind == "mean_f1":
            each = [mine.loc[mine["metric"] == name, ["tp", "fp", "fn"]].sum() for name in metric.items]
            assert result.value == pytest.approx(np.mean([f1_of_counts(c.to_numpy(dtype=float)) for c in each]))


def test_crops_that_are_too_small_are_counted(evaluation, benchmark, generated, tmp_path):
    summary, _ = _score(evaluation.replaced(min_crop_side=1000), benchmark, generated, tmp_path)
    result = summary.result("diffsensei", "dino_c")
    assert (result.n_used, result.skipped) == (0, {"crop under 1000 px": 8})
    assert result.state == "not computed: no measurement is left"


def test_differences_are_paired_and_signed(evaluation, benchmark, generated, tmp_path):
    summary, _ = _score(evaluation, benchmark, generated, tmp_path)
    found = {(c.metric, c.method, c.baseline): c for c in summary.comparisons}
    gap = found["dialog_f1", "diffsensei", "diffsensei_stage1"]
    assert (gap.difference, gap.low, gap.high, gap.n_pages) == (1.0, 1.0, 1.0, 4)
    assert gap.p_value == pytest.approx(2 / 2**4)
    assert gap.p_holm >= gap.p_value
    same = found["dino_i", "diffsensei_stage1", "sdxl_t2i"]
    values = {m: summary.result(m, "dino_i").value for m in ("diffsensei_stage1", "sdxl_t2i")}
    assert same.difference == pytest.approx(values["diffsensei_stage1"] - values["sdxl_t2i"])


def test_missing_panels_are_counted_and_all_missing_is_a_state(evaluation, benchmark, generated, tmp_path):
    images = sorted((generated["generate_sdxl_t2i"] / "images" / "0").iterdir())
    images[0].unlink()
    for path in (generated["generate_stage1"] / "images" / "0").iterdir():
        path.unlink()
    summary, _ = _score(evaluation, benchmark, generated, tmp_path)
    assert summary.result("sdxl_t2i", "dino_i").skipped == {"not generated": 1}
    assert summary.result("sdxl_t2i", "fid").n_used == 11
    for metric in ("fid", "dino_i", "dialog_f1"):
        result = summary.result("diffsensei_stage1", metric)
        assert result.value is None
        assert result.state.startswith("not computed: ")
    assert summary.result("diffsensei", "dino_i").value == pytest.approx(1)


def test_missing_judges_do_not_stop_the_others(evaluation, benchmark, generated, tmp_path):
    without = evaluation.replaced(judges=evaluation.judges.replaced(dino="/nowhere/dino"))
    summary, items = _score(without, benchmark, generated, tmp_path)
    assert summary.result("diffsensei", "dino_c").state.startswith(
        "not computed: encoder weights missing: /nowhere/dino"
    )
    assert summary.result("diffsensei", "dialog_f1").value == 1
    assert not items["metric"].str.startswith("dino").any()


def test_magi_without_its_weights_is_a_state_of_dialog_f1(evaluation, benchmark, generated, tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "load_dialog_detector", judge_encoders.load_dialog_detector)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    paper = evaluation.replaced(judges=evaluation.judges.replaced(dialog_detector="ragavsachdeva/magi"))
    summary, items = _score(paper, benchmark, generated, tmp_path)
    result = summary.result("diffsensei", "dialog_f1")
    assert result.value is None
    assert result.state.startswith("not computed: encoder weights missing: ragavsachdeva/magi could not")
    assert "\n" not in result.state
    assert summary.result("diffsensei", "dino_i").value == pytest.approx(1)
    assert "dialog_f1" not in set(items["metric"])


def test_magi_judges_dialogs_where_its_weights_are(evaluation, benchmark, generated, tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "load_dialog_detector", judge_encoders.load_dialog_detector)
    magi = tmp_path / "magi"
    magi.mkdir()
    write_tiny_magi(magi)
    paper = evaluation.replaced(judges=evaluation.judges.replaced(dialog_detector=str(magi)), detection_threshold=0.25)
    summary, items = _score(paper, benchmark, generated, tmp_path)
    assert summary.result("diffsensei", "dialog_f1").state == "computed"
    for metric, total in (("layout_iou", 8), ("character_count", 12)):
        result = summary.result("diffsensei", metric)
        assert (result.state, result.n_used) == ("computed", total)
        assert result.value == summary.result("ground_truth", metric).value
    rows = items[items["metric"] == "dialog_f1"]
    assert rows["fp"].sum() > 0
    same = rows[rows["method"].isin(["diffsensei", "ground_truth"])].groupby("panel_id")[["tp", "fp", "fn"]].nunique()
    assert (same == 1).all().all()


def test_wrong_size_is_refused_in_one_line(evaluation, benchmark, generated, tmp_path):
    path = next((generated["generate_stage1"] / "images" / "0").iterdir())
    Image.new("L", (8, 8)).save(path)
    with pytest.raises(ValueError, match=r"expected an image of \d+x\d+ pixels, got 8x8"):
        _score(evaluation, benchmark, generated, tmp_path)


def test_seeds_are_reported_alone_and_together(evaluation, benchmark, generated, tmp_path):
    for folder in generated.values():
        (folder / "images" / "1").mkdir()
        for path in (folder / "images" / "0").iterdir():
            pixels = np.asarray(Image.open(path))
            Image.fromarray(255 - pixels).save(folder / "images" / "1" / path.name)
    summary, _ = _score(evaluation.replaced(seeds=(0, 1)), benchmark, generated, tmp_path)
    result = summary.result("diffsensei", "dino_i")
    assert set(result.by_seed) == {"0", "1"}
    assert result.value == pytest.approx(np.mean(list(result.by_seed.values())))
    assert result.seed_sd == pytest.approx(np.std(list(result.by_seed.values()), ddof=1))
    assert result.n_total == 24
    assert summary.result("ground_truth", "dino_i").n_total == 12


def test_scoring_twice_gives_the_same_bytes(evaluation, benchmark, generated, tmp_path):
    _score(evaluation, benchmark, generated, tmp_path / "1")
    _score(evaluation, benchmark, generated, tmp_path / "2")
    for name in ("items.parquet", "summary.json"):
        assert (tmp_path / "1/score" / name).read_bytes() == (tmp_path / "2/score" / name).read_bytes()


def test_the_floor_shows_another_panel_of_the_same_series(benchmark):
    panels = read_benchmark(benchmark)
    by_id = {panel.panel_id: panel for panel in panels}
    for panel_id, other in shuffle_within_series(panels).items():
        assert other.panel_id != panel_id
        assert other.series == by_id[panel_id].series
    assert shuffle_within_series(panels[:1]) == {}


def test_variants_and_extras_stand_apart_with_known_answers(evaluation, benchmark, generated, tmp_path):
    more = evaluation.replaced(
        judges=evaluation.judges.replaced(further_clip=(evaluation.judges.clip,)), iou_sweep=(0.3,), jpeg_quality=75
    )
    summary, _ = _score(more, benchmark, generated, tmp_path)
    value = lambda method, metric: summary.result(method, metric).value  # noqa: E731
    assert value("diffsensei", "clip_2") == value("diffsensei", "clip")
    assert value("diffsensei", "dialog_f1_at_0.30") == 1
    assert 0 < value("diffsensei", "dialog_f1_mean") <= 1
    assert value("diffsensei_stage1", "dialog_f1_mean") == 0
    assert value("ground_truth", "fid") == pytest.approx(0, abs=1e-6)
    assert value("ground_truth", "dino_c_panel_mean") == pytest.approx(1)
    assert value("diffsensei", "chroma") == 0
    assert summary.result("diffsensei", "layout_iou").state.startswith("not computed: needs a detector of characters")
    assert summary.result("diffsensei", "fid_64").state.startswith("not computed: needs Inception")
    assert summary.result("diffsensei", "identity_accuracy").skipped == {"one character on the page": 8}
    groups = [metric.group for metric in summary.metrics]
    assert groups == sorted(groups, key=["headline", "distribution", "variant", "manga"].index)
    assert {c.metric for c in summary.comparisons} <= {"clip", "dino_i", "dino_c", "dino_c_source", "dialog_f1"}


def test_dialogs_found_on_whole_pages_come_back_to_their_panels(
    evaluation, benchmark, generated, tmp_path, monkeypatch
):
    """A detector that finds every white block: on a sheet one for each panel with a bubble."""

    class EveryWhiteBlock:
        def detect(self, images, threshold):
            from scipy import ndimage

            from diffsensei.foundations.dialog_detector import Detections

            found = []
            for image in images:
                labels, _ = ndimage.label(image > 250)
                sides = [part for part in ndimage.find_objects(labels) if image[part].size < 5000]
                box = [
                    [x.start, y.start, x.stop, y.stop] for y, x in sides if min(x.stop - x.start, y.stop - y.start) > 4
                ]
                found.append(Detections(np.array(box, np.float32).reshape(-1, 4), np.ones(len(box), np.float32)))
            return found

    for path in (benchmark / "truth").iterdir():  # a bubble at the edge would run into the white gutter
        framed = np.pad(np.asarray(Image.open(path))[1:-1, 1:-1], 1, constant_values=128)
        Image.fromarray(framed).save(path)
    monkeypatch.setattr(judges, "load_dialog_detector", lambda reference: EveryWhiteBlock())
    panel, page = (
        _score(evaluation.replaced(detection_scope=scope), benchmark, generated, tmp_path / scope)[0]
        for scope in ("panel", "page")
    )
    assert panel.result("ground_truth", "dialog_f1").value == 1
    assert page.result("ground_truth", "dialog_f1").value == 1
    assert page.result("sdxl_t2i", "dialog_f1").value == 0
    reasons = comparable(panel, page, "dialog_f1")
    assert reasons == ("scope differs: panel and page",)
    assert comparable(panel, page, "dino_i") == ()


def test_features_outlive_a_crash_and_give_the_same_bytes(evaluation, benchmark, generated, tmp_path, monkeypatch):
    _score(evaluation, benchmark, generated, tmp_path / "1")
    (tmp_path / "2/work").mkdir(parents=True)
    shutil.copytree(tmp_path / "1/features", tmp_path / "2/features")
    stored = sorted((tmp_path / "2/features").rglob("*.npz"))
    stored[0].unlink()
    (tmp_path / "2/score").mkdir()
    score_methods(
        evaluation=evaluation,
        benchmark=benchmark,
        features=tmp_path / "2/features",
        workspace=tmp_path / "2/work",
        output=tmp_path / "2/score",
        **generated,
    )
    for name in ("items.parquet", "summary.json", "breakdowns.parquet"):
        assert (tmp_path / "1/score" / name).read_bytes() == (tmp_path / "2/score" / name).read_bytes()


def test_another_threshold_looks_at_no_picture_again(evaluation, benchmark, generated, tmp_path, monkeypatch):
    before, _ = _score(evaluation, benchmark, generated, tmp_path / "1")
    shutil.copytree(tmp_path / "1/features", tmp_path / "2/features")

    def blind(*_):
        raise AssertionError("a picture was shown to an encoder")

    monkeypatch.setattr(features, "_in_batches", blind)
    after, _ = _score(evaluation.replaced(iou_threshold=0.9), benchmark, generated, tmp_path / "2")
    for name in ("clip", "dino_i", "dino_c", "fid"):
        assert after.result("diffsensei_stage1", name) == before.result("diffsensei_stage1", name)


def test_all_dialogs_or_those_fed(evaluation, benchmark, generated, tmp_path):
    """With one more dialog asked for than given, all counted, nobody finds it."""
    path = benchmark / "panels.jsonl"
    panels = [panel.replaced(unfed_dialogs=((0.0, 0.9, 0.1, 1.0),)) for panel in read_benchmark(benchmark)]
    path.write_text("".join(panel.model_dump_json() + "\n" for panel in panels))
    fed, every = (
        _score(evaluation.replaced(dialog_truth=which), benchmark, generated, tmp_path / which)[0]
        for which in ("fed", "all")
    )
    assert fed.result("ground_truth", "dialog_f1").value == 1
    assert every.result("ground_truth", "dialog_f1").value == pytest.approx(2 * 8 / (2 * 8 + 12))


def test_some_metrics_alone_have_the_same_figures_and_no_other_judge_looks(
    evaluation, benchmark, generated, tmp_path, monkeypatch
):
    whole, _ = _score(evaluation, benchmark, generated, tmp_path / "1")

    def blind(*_):
        raise AssertionError("a picture was shown to CLIP")

    monkeypatch.setattr(judges, "clip_image_embedder", lambda *_: blind)
    asked = dict.fromkeys(("dialog_f1", "dino_c"), "")
    (tmp_path / "2/score").mkdir(parents=True)
    score_methods(
        evaluation=evaluation,
        benchmark=benchmark,
        features=tmp_path / "2/features",
        workspace=tmp_path / "2",
        output=tmp_path / "2/score",
        metrics=asked,
        **generated,
    )
    part = read_summary(tmp_path / "2/score")
    assert {metric.name for metric in part.metrics} == set(asked)
    assert part.results == tuple(result for result in whole.results if result.metric in asked)
    assert {metric.name: metric.digest for metric in part.metrics}.items() <= {
        metric.name: metric.digest for metric in whole.metrics
    }.items()


def test_definitions_are_known_before_anything_is_scored(evaluation, benchmark, generated, tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "load_dialog_detector", judge_encoders.load_dialog_detector)
    magi = tmp_path / "magi"
    magi.mkdir()
    write_tiny_magi(magi)
    for others in (
        {},
        {"dino": "/nowhere/dino"},
        {"further_clip": (evaluation.judges.clip,), "fit": "pad", "fid_features": "embedded:judge_clip"},
        {"dialog_detector": str(magi)},
        {"fid_features": "/nowhere/inception-2015-12-05.pt"},
    ):
        chosen = evaluation.replaced(judges=evaluation.judges.replaced(**others), jpeg_quality=75)
        loaded = judges.load_judges(chosen.judges, tmp_path / "features", 0.5)
        assert judges.identify_judges(chosen.judges) == loaded.identities, others
    summary, _ = _score(evaluation, benchmark, generated, tmp_path / "scored")
    digest = benchmark_digest(benchmark)
    assert define_metrics(evaluation, judges.identify_judges(evaluation.judges), digest) == summary.metrics


def test_every_picture_is_decoded_once(evaluation, benchmark, generated, tmp_path, monkeypatch):
    """Colour files too, though their colour is measured and everything else sees grey."""
    for path in (generated["generate_stage1"] / "images" / "0").iterdir():
        Image.fromarray(np.stack([np.asarray(Image.open(path))] * 3, axis=-1)).save(path)
    opened = Counter()
    true_open = Image.open

    def counted(path, *rest, **more):
        opened[path] += 1
        return true_open(path, *rest, **more)

    monkeypatch.setattr(Image, "open", counted)
    summary, _ = _score(evaluation, benchmark, generated, tmp_path)
    assert summary.result("diffsensei_stage1", "chroma").value == 0
    drawn = [count for path, count in opened.items() if "images" in path.parts]
    assert drawn == [1] * 36
    truths = [count for path, count in opened.items() if path.parent.name == "truth"]
    assert sum(truths) == 24  # as the oracle, and as another panel's floor


def test_states_are_scored_where_the_world_is_drawn(evaluation, tmp_path, benchmark, generated):
    """A probe that reads what it was trained to; of pages that no world has drawn, nothing."""
    chosen = evaluation.replaced(judges=evaluation.judges.replaced(states="embedded:judge_states"))
    summary, items = _score(chosen, benchmark, generated, tmp_path)
    result = summary.result("diffsensei", "state_accuracy")
    assert result.state == "not computed: not a drawn world: states of characters are not known"
    assert not items["metric"].str.startswith("state_").any()
    (definition,) = [metric for metric in summary.metrics if metric.name == "state_accuracy"]
    assert "reading well: expression, pose, facing, distance" in definition.definition

    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "world.json").write_text(json.dumps({"pages": []}))
    other = tmp_path / "again"
    for name in ("score", "work"):
        (other / name).mkdir(parents=True)
    score_methods(
        evaluation=chosen,
        benchmark=benchmark,
        annotations=folder,
        features=other / "features",
        workspace=other / "work",
        output=other / "score",
        **generated,
    )
    result = read_summary(other / "score").result("diffsensei", "state_accuracy")
    assert (result.state, result.skipped) == ("not computed: no measurement is left", {"state not known": 8})
