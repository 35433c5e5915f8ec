"""Tables for the Prefect UI."""

from infra.plan import Action, Plan, PlanRow
from infra.stage import Resources
from tasks.artifacts import metric_rows, plan_markdown


def _row(stage: str, action: Action, reasons: tuple[str, ...], **more: object) -> PlanRow:
    return PlanRow.model_validate(
        {"stage": stage, "action": action, "reasons": reasons, "key": None, "resources": Resources()} | more
    )


def test_plan_says_what_why_and_how_long() -> None:
    plan = Plan(
        rows=(
            _row("panels", Action.REUSE, ("nothing changed",)),
            _row("stage1", Action.RUN, ("training.stage1.steps 700 -> 5",), expected_s=61.0),
            _row("report", Action.RUN, ("after a, b, c, d", "a | b"), after=("a", "b", "c", "d")),
            _row("score", Action.RUN, ("after a", *(f"input {name} added" for name in "bcdefgh")), after=("a",)),
            _row("bundle", Action.RUN, tuple(f"x{n} 0 -> 1" for n in range(6))),
        )
    )
    assert plan_markdown(plan).splitlines() == [
        "## 4 of 5 stages to run, about 1:01",
        "",
        "| stage | action | time | why |",
        "| --- | --- | --- | --- |",
        "| panels | reuse | - | nothing changed |",
        "| stage1 | run | 1:01 | training.stage1.steps 700 -> 5 |",
        "| report | run | ? | after a, b, c and 1 more; a \\| b |",
        "| score | run | ? | after a; input b added; input c added; input d added; input e added; input f added; "
        "and 2 more changes |",
        "| bundle | run | ? | x0 0 -> 1; x1 0 -> 1; x2 0 -> 1; x3 0 -> 1; x4 0 -> 1; x5 0 -> 1 |",
    ]


def test_headline_metrics_show_value_interval_and_count_or_why_there_is_none() -> None:
    cell = {"metric": "clip", "low": 0.25, "high": 0.35, "n_used": 40, "state": "computed"}
    metrics = [("clip", "CLIP", "headline"), ("fid", "FID", "headline"), ("kid", "KID", "variant")]
    summary = {
        "metrics": [{"name": name, "label": label, "group": group} for name, label, group in metrics],
        "results": [
            cell | {"method": "ours", "value": 0.3},
            cell | {"method": "ours", "metric": "fid", "value": 12.5, "low": None, "high": None},
            cell | {"method": "ours", "metric": "kid", "value": 0.01},
            cell | {"method": "floor", "value": None, "state": "not computed: no panels"},
        ],
    }
    assert metric_rows(summary) == [
        {"method": "ours", "CLIP": "0.3 [0.25, 0.35] (n=40)", "FID": "12.5 (n=40)"},
        {"method": "floor", "CLIP": "not computed: no panels"},
    ]
