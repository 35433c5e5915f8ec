import pytest

from diffsensei.evaluation.results import MethodInfo, MetricDefinition, MetricResult, Summary
from reports.results_table import certain_best, comparison_rows, figure_text, interval_text, results_table


def _summary(values: dict[str, tuple[float | None, float | None, float | None]], higher: bool = True) -> Summary:
    metric = MetricDefinition(name="clip", label="CLIP", definition="d", unit="u", higher_is_better=higher, source="s")
    results = [
        MetricResult(
            method=name,
            metric="clip",
            value=value,
            low=low,
            high=high,
            n_used=5,
            n_total=7,
            skipped={"no caption": 2},
            state="computed" if value is not None else "not computed: judge missing",
            definition="d",
            unit="u",
            higher_is_better=higher,
            interval="bootstrap",
            by_seed={},
        )
        for name, (value, low, high) in values.items()
    ]
    methods = [
        MethodInfo(name=n, label=n, role="oracle" if n == "ground_truth" else "method", description="") for n in values
    ]
    return Summary(
        metrics=(metric,),
        methods=tuple(methods),
        results=tuple(results),
        comparisons=(),
        num_series=1,
        num_pages=1,
        num_panels=7,
        num_characters=0,
        num_dialogs=0,
        seeds=(0,),
        confidence=0.95,
        resamples=10,
        judges={},
    )


def _best(values, higher=True):
    summary = _summary(values, higher)
    return certain_best(summary, summary.metrics[0])


def test_best_is_marked_only_beyond_all_other_intervals():
    assert _best({"a": (0.5, 0.45, 0.55), "b": (0.3, 0.2, 0.4)}) == "a"
    assert _best({"a": (0.5, 0.39, 0.6), "b": (0.3, 0.2, 0.4)}) is None
    assert _best({"a": (0.5, 0.4, 0.6), "b": (0.3, 0.2, 0.4)}) is None
    assert _best({"a": (0.5, 0.45, 0.55), "b": (0.3, 0.2, 0.4)}, higher=False) == "b"


def test_the_oracle_never_competes_and_a_missing_interval_decides_nothing():
    assert _best({"ground_truth": (1.0, 0.99, 1.0), "a": (0.5, 0.45, 0.55), "b": (0.3, 0.2, 0.4)}) == "a"
    assert _best({"a": (0.5, None, None), "b": (0.3, 0.2, 0.4)}) is None
    assert _best({"a": (0.5, 0.45, 0.55)}) is None


def test_cells_tell_counts_reasons_and_states():
    table = results_table(_summary({"a": (0.5, 0.45, 0.55), "b": (None, None, None)}))
    first, second = (row.cells[0] for row in table.rows)
    assert (first.text, first.n) == ("0.500", "n = 5/7")
    assert "2 skipped: no caption" in first.hint
    assert second.state == "not computed: judge missing"
    assert not second.best


def test_the_papers_row_stands_beside_the_same_system_only():
    table = results_table(_summary({"sdxl_t2i": (0.2, 0.1, 0.3), "diffsensei": (0.5, 0.45, 0.55)}))
    assert [tuple(cell and cell.text for cell in row.paper) for row in table.rows] == [(None,), ("0.235",)]
    assert [row.paper_reference for row in table.rows] == ["", "Table 2(a)"]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.25, "0.100\N{EN DASH}0.250"),
        (8.9, 10.7, "8.9\N{EN DASH}10.7"),
        (-0.1, 0.2, "\N{MINUS SIGN}0.100 to 0.200"),
        (None, 0.2, ""),
    ],
)
def test_interval_ends_have_the_same_decimals(low, high, text):
    assert interval_text(low, high) == text


def test_negative_figures_have_a_true_minus():
    assert figure_text(-0.01) == "\N{MINUS SIGN}0.010"


def test_a_difference_counts_only_with_both_interval_and_test():
    from diffsensei.evaluation.results import Comparison

    def verdict(difference, low, high, p, higher=True):
        summary = _summary({"a": (0.5, 0.4, 0.6), "b": (0.3, 0.2, 0.4)}, higher).replaced(
            comparisons=[
                Comparison(
                    metric="clip",
                    method="b",
                    baseline="a",
                    difference=difference,
                    low=low,
                    high=high,
                    p_value=p,
                    p_holm=p,
                    n_pages=4,
                ).model_dump()
            ]
        )
        return comparison_rows(summary)[0].verdict

    assert verdict(0.1, 0.05, 0.15, 0.01) == "better"
    assert verdict(0.1, 0.05, 0.15, 0.01, higher=False) == "worse"
    assert verdict(-0.1, -0.15, -0.05, 0.01) == "worse"
    assert verdict(0.1, 0.05, 0.15, 0.2) == "undecided"
    assert verdict(0.1, -0.05, 0.25, 0.01) == "undecided"
    assert verdict(0.1, None, None, None) == "undecided"


def test_other_groups_stand_in_tables_of_their_own_with_their_states():
    summary = _summary({"ground_truth": (0.9, 0.8, 1.0), "a": (0.5, 0.4, 0.6), "b": (0.2, 0.1, 0.3)})
    metric, results = summary.metrics[0], summary.results
    layout = metric.replaced(name="layout_iou", label="Layout IoU", group="manga")
    needs = "not computed: needs a detector of characters: set evaluation.judges.dialog_detector to Magi's weights"
    more = [
        result.replaced(metric="layout_iou", state=needs, value=None, low=None, high=None)
        if result.method == "a"
        else result.replaced(metric="layout_iou", seed_sd=0.125, by_seed={"0": 0.1, "1": 0.2})
        for result in results
    ]
    table = results_table(summary.replaced(metrics=(metric, layout), results=(*results, *more)))
    assert [shown.name for shown in table.metrics] == ["clip"]
    assert [chart.name for chart, _ in table.charts] == ["clip"]
    (further,) = table.further
    assert (further.title, [shown.name for shown in further.metrics]) == ("What matters for manga", ["layout_iou"])
    cells = {info.name: cells[0] for info, cells in further.rows}
    assert cells["a"].state == needs
    assert "sd between seeds 0.125" in cells["b"].hint
