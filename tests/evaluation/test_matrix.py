"""Which cells are missing and why, and what a table keeps when some are filled."""

import pytest

from diffsensei.evaluation.clip_score import CLIP
from diffsensei.evaluation.comparability import with_digest
from diffsensei.evaluation.dialog_f1 import DIALOG_F1
from diffsensei.evaluation.matrix import (
    BenchmarkTable,
    Cell,
    Evaluations,
    Row,
    filled,
    missing_cells,
    read_evaluations,
    write_evaluations,
)
from diffsensei.evaluation.results import MetricDefinition, MetricResult

ROW = "checkpoint-a"


def _columns(iou: float = 0.5, clip_version: int = 1) -> tuple[MetricDefinition, ...]:
    return (
        with_digest(CLIP.replaced(version=clip_version), {"judge": "c"}, "benchmark"),
        with_digest(DIALOG_F1, {"judge": "d", "iou": iou}, "benchmark"),
    )


def _cell(column: MetricDefinition, value: float, row: str = ROW, drawing: str = "drawn") -> Cell:
    result = MetricResult(
        method="diffsensei",
        metric=column.name,
        value=value,
        low=value - 0.1,
        high=value + 0.1,
        n_used=9,
        n_total=9,
        skipped={},
        state="computed",
        definition=column.definition,
        unit=column.unit,
        higher_is_better=True,
        interval="page bootstrap",
        by_seed={},
    )
    return Cell(row=row, drawing=drawing, definition=column.digest, result=result)


def _row(key: str = ROW) -> Row:
    return Row(key=key, label=key, role="checkpoint", digest=key)


@pytest.fixture
def table() -> BenchmarkTable:
    columns = _columns()
    cells = [_cell(column, 0.3) for column in columns]
    return filled(None, "main", "benchmark", columns, [_row()], cells, {ROW: "drawn"})


def test_a_new_checkpoint_lacks_its_row(table: BenchmarkTable) -> None:
    assert missing_cells(table, ROW, "drawn", _columns()) == {}
    assert missing_cells(table, "checkpoint-b", None, _columns()) == {
        "clip": "never scored",
        "dialog_f1": "never scored",
    }
    assert missing_cells(None, ROW, "drawn", _columns()).keys() == {"clip", "dialog_f1"}


def test_a_changed_metric_lacks_its_column_and_says_what_changed(table: BenchmarkTable) -> None:
    assert missing_cells(table, ROW, "drawn", _columns(iou=0.25)) == {"dialog_f1": "iou differs: 0.5 and 0.25"}
    assert missing_cells(table, ROW, "drawn", _columns(clip_version=2)) == {"clip": "versions of clip differ: 1 and 2"}
    third = with_digest(CLIP.replaced(name="clip_2"), {"judge": "e"}, "benchmark")
    assert missing_cells(table, ROW, "drawn", (*_columns(), third)) == {"clip_2": "new metric"}


def test_another_drawing_lacks_everything(table: BenchmarkTable) -> None:
    assert set(missing_cells(table, ROW, "other", _columns()).values()) == {"drawn anew"}
    assert set(missing_cells(table, ROW, None, _columns()).values()) == {"to be drawn anew"}


def test_filling_a_column_keeps_the_others(table: BenchmarkTable) -> None:
    columns = _columns(iou=0.25)
    after = filled(table, "main", "benchmark", columns, [_row()], [_cell(columns[1], 0.9)], {ROW: "drawn"})
    assert after.cell(ROW, "clip") == table.cell(ROW, "clip")
    assert after.cell(ROW, "dialog_f1") == _cell(columns[1], 0.9)
    assert missing_cells(after, ROW, "drawn", columns) == {}


def test_figures_of_another_definition_or_drawing_are_not_shown(table: BenchmarkTable) -> None:
    changed = filled(table, "main", "benchmark", _columns(iou=0.25), [_row()], [], {ROW: "drawn"})
    assert [cell.result.metric for cell in changed.cells] == ["clip"]
    redrawn = filled(table, "main", "benchmark", _columns(), [_row()], [], {ROW: "other"})
    assert redrawn.cells == ()
    not_drawn = filled(table, "main", "benchmark", _columns(), [_row()], [], {})
    assert not_drawn.cells == table.cells


def test_rows_that_are_gone_take_their_cells_along(table: BenchmarkTable) -> None:
    other = _row("checkpoint-b")
    after = filled(table, "main", "benchmark", _columns(), [other], [], {})
    assert (after.rows, after.cells) == ((other,), ())


def test_tables_of_other_benchmarks_stay(table: BenchmarkTable, tmp_path) -> None:
    drift = table.replaced(benchmark="drift")
    both = Evaluations(name="tiny", tables=(table,)).with_tables([drift])
    newer = table.replaced(digest="other")
    changed = both.with_tables([newer])
    assert [(t.benchmark, t.digest) for t in changed.tables] == [("main", "other"), ("drift", "benchmark")]
    write_evaluations(changed, tmp_path)
    assert read_evaluations(tmp_path) == changed
    with pytest.raises(ValueError, match=r"evaluations\.json is missing"):
        read_evaluations(tmp_path / "nowhere")
