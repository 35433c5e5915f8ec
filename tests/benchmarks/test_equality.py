"""The benchmarks' two sides give the same. How fast they are is printed by ``make bench`` and tested nowhere."""

import pytest

from tests.benchmarks import __main__ as table
from tests.benchmarks import scoring
from tests.benchmarks.cases import MODULES
from tests.benchmarks.interleaved import Case, measure

CASES = [case for module in MODULES for case in module.cases()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_sides_are_equal(case: Case) -> None:
    case.check()


def test_scoring_from_features_gives_the_mean_of_the_features_themselves() -> None:
    scoring.check_run(*scoring.small_run())


def test_a_benchmark_whose_sides_differ_measures_nothing() -> None:
    def differ() -> None:
        raise AssertionError("not equal")

    with pytest.raises(AssertionError, match="not equal"):
        measure(Case("broken", differ, lambda: 1, lambda: 2, 0.0), repeats=2)


def test_a_benchmark_is_run_alone_by_its_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    ran: list[str] = []
    monkeypatch.setitem(table.LONG, "annotation_check", lambda: ran.append("annotation_check"))
    table.main(["annotation_check"])
    assert ran == ["annotation_check"]
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit, match=r"no benchmark annotation-check; known: masks, .*annotation_check"):
        table.main(["annotation-check"])
