import multiprocessing
from pathlib import Path

import pytest

from infra.refs import RefConflict, Refs


def _digest(number: int) -> str:
    return f"{number:064x}"


def test_moves_are_compared_counted_and_logged(tmp_path: Path) -> None:
    refs = Refs(tmp_path)
    assert refs.read("released", "tiny") is None
    refs.move("released", "tiny", "bundle", _digest(1), expected=None)
    refs.move("released", "tiny", "bundle", _digest(2), expected=_digest(1), reason="better")
    with pytest.raises(RefConflict, match="expected"):
        refs.move("released", "tiny", "bundle", _digest(3), expected=_digest(1))
    ref = refs.move("released", "tiny", "bundle", _digest(2), expected=_digest(1))
    assert (ref.generation, ref.reason) == (2, "better")
    assert refs.read("released", "tiny") == ref
    assert [move.digest for move in refs.log("released", "tiny")] == [_digest(1), _digest(2)]
    assert refs.names("released") == ["tiny"]


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a reference"):
        Refs(tmp_path).move("released", "../x", "bundle", _digest(1), expected=None)


def test_a_move_cut_in_two_is_completed_and_a_torn_line_dropped(tmp_path: Path) -> None:
    refs = Refs(tmp_path)
    refs.move("released", "tiny", "bundle", _digest(1), expected=None)
    pointer = (tmp_path / "released" / "tiny.json").read_bytes()
    refs.move("released", "tiny", "bundle", _digest(2), expected=_digest(1))
    (tmp_path / "released" / "tiny.json").write_bytes(pointer)  # as if killed after the log, before the pointer
    with refs.log_path.open("ab") as stream:
        stream.write(b'{"channel": "rele')
    ref = refs.move("released", "tiny", "bundle", _digest(3), expected=_digest(2))
    assert ref.generation == 3
    assert [move.generation for move in refs.log()] == [1, 2, 3]


def _move_often(path: Path, worker: int, times: int) -> int:
    refs = Refs(path)
    moved = conflicts = 0
    while moved < times:
        current = refs.read("candidate", "tiny")
        try:
            refs.move(
                "candidate",
                "tiny",
                "bundle",
                _digest(worker * 1000 + moved + 1),
                expected=current.digest if current else None,
            )
            moved += 1
        except RefConflict:
            conflicts += 1
    return conflicts


@pytest.mark.parametrize("times", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_eight_processes_move_one_name(tmp_path: Path, times: int) -> None:
    """No move is lost and no number is given twice, however many there are at once."""
    with multiprocessing.get_context("fork").Pool(8) as pool:
        conflicts = pool.starmap(_move_often, [(tmp_path, worker, times) for worker in range(8)])
    assert sum(conflicts) > 0, "they never met"
    refs = Refs(tmp_path)
    log = refs.log("candidate", "tiny")
    assert [move.generation for move in log] == list(range(1, 8 * times + 1))
    assert {move.digest for move in log} == {
        _digest(worker * 1000 + number + 1) for worker in range(8) for number in range(times)
    }
    assert refs.read("candidate", "tiny") == log[-1]
