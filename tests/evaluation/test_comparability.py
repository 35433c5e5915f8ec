import pytest

from diffsensei.evaluation.comparability import benchmark_digest, comparable, with_digest
from diffsensei.evaluation.dialog_f1 import DIALOG_F1
from diffsensei.evaluation.results import Summary


def _run(parameters, benchmark="b" * 64, version=1) -> Summary:
    metric = with_digest(DIALOG_F1.replaced(version=version), parameters, benchmark)
    counts = dict.fromkeys(("num_series", "num_pages", "num_panels", "num_characters", "num_dialogs"), 1)
    return Summary(
        metrics=(metric,),
        methods=(),
        results=(),
        comparisons=(),
        seeds=(0,),
        confidence=0.95,
        resamples=10,
        judges={},
        benchmark_digest=benchmark,
        **counts,
    )


def test_equal_definitions_on_one_benchmark_may_be_compared():
    a, b = _run({"iou": 0.5, "judge": "x"}), _run({"judge": "x", "iou": 0.5})
    assert comparable(a, b, "dialog_f1") == ()
    assert a.metrics[0].digest == b.metrics[0].digest


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (_run({"iou": 0.3, "judge": "x"}), "iou differs: 0.5 and 0.3"),
        (_run({"iou": 0.5, "judge": "y"}), "judge differs: x and y"),
        (_run({"iou": 0.5}), "judge differs: x and absent"),
        (_run({"iou": 0.5, "judge": "x"}, version=2), "versions of dialog_f1 differ: 1 and 2"),
        (_run({"iou": 0.5, "judge": "x"}, benchmark="c" * 64), "benchmarks differ: bbbbbbbbbbbb and cccccccccccc"),
    ],
)
def test_reasons_why_not(other, reason):
    first = _run({"iou": 0.5, "judge": "x"})
    assert comparable(first, other, "dialog_f1") == (reason,)
    assert first.metrics[0].digest != other.metrics[0].digest


def test_a_metric_that_a_run_lacks():
    assert comparable(_run({}), _run({}), "fid") == ("the first and second run lacks fid",)


def test_the_benchmark_is_its_panels_and_its_pictures(tmp_path):
    for name in ("truth", "references"):
        (tmp_path / name).mkdir()
    (tmp_path / "panels.jsonl").write_text("{}\n")
    digests = [benchmark_digest(tmp_path)]
    for path, text in (("truth/a.png", "x"), ("truth/a.png", "y"), ("references/a.png", "z"), ("panels.jsonl", "")):
        (tmp_path / path).write_text(text)
        digests.append(benchmark_digest(tmp_path))
    assert len(set(digests)) == 5
