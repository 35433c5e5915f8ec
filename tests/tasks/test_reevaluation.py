"""Stored tables: two runs at once lose nothing, and a person is told where there are none."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diffsensei.config import load_preset
from diffsensei.evaluation.matrix import BenchmarkTable, Evaluations, Row
from infra.store import Store
from tasks.evaluation_tables import table_lines
from tasks.reevaluation import EVALUATIONS, newest_tables, record_tables, stored_evaluations, targets_of

CONFIG = load_preset("tiny")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


def _table(benchmark: str, **row: object) -> BenchmarkTable:
    rows = [Row.model_validate({"key": "a", "label": "a 1.0.0", "role": "checkpoint", "digest": "d"} | row)]
    return BenchmarkTable(benchmark=benchmark, digest="b" * 64, columns=(), rows=tuple(rows), cells=())


def test_tables_of_runs_at_once_are_all_kept(store: Store) -> None:
    names = [f"benchmark{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: record_tables(CONFIG, store, lambda _: [_table(name)], name), names))
    assert sorted(table.benchmark for table in stored_evaluations(CONFIG, store).tables) == names
    assert len(store.refs.log(EVALUATIONS, "tiny")) == 8
    assert newest_tables(None) == newest_tables("tiny") == stored_evaluations(CONFIG, store)


def test_rows_that_runs_add_to_one_table_at_once_are_all_kept(store: Store) -> None:
    def add(key: str) -> None:
        def build(current: Evaluations) -> list[BenchmarkTable]:
            (row,) = _table("main", key=key).rows
            before = current.table("main")
            rows = (*(before.rows if before else ()), row)
            return [_table("main").replaced(rows=rows)]

        record_tables(CONFIG, store, build, key)

    keys = [f"checkpoint-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, keys))
    (table,) = stored_evaluations(CONFIG, store).tables
    assert sorted(row.key for row in table.rows) == keys


def test_without_tables_a_person_is_told_what_to_do(store: Store) -> None:
    assert stored_evaluations(CONFIG, store).tables == ()
    with pytest.raises(ValueError, match=r"no evaluations of anything \(known: none\); run `diffsensei run evaluate`"):
        newest_tables(None)
    record_tables(CONFIG, store, lambda _: [_table("main")], "a test")
    with pytest.raises(ValueError, match=r"no evaluations of small \(known: tiny\)"):
        newest_tables("small")


def test_a_choice_of_rows_has_its_stages() -> None:
    assert targets_of("published") == ("benchmark",), "nothing is trained for published checkpoints"
    assert targets_of("all") == targets_of("configured") == ("score",)
    with pytest.raises(ValueError, match="checkpoints: expected all, configured, published, got 'some'"):
        targets_of("some")


def test_a_row_says_what_names_it_and_what_went_wrong() -> None:
    (line,), notes = table_lines(_table("main", channels=("released", "approved"), notes=("stage draw: too large",)))
    assert line == {"row": "a 1.0.0, released, approved (1)"}
    assert notes == ["a 1.0.0: stage draw: too large"]
