"""Vote files are taken whole or refused with a reason, and never believed."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from diffsensei.study.importing import MAX_FILE_BYTES, import_votes
from diffsensei.study.ledger import read_votes
from diffsensei.study.packets import packet_digest, read_packets, read_tokens
from diffsensei.study.results import read_study
from flows.cli import app
from tests.study.test_server import CHOICES


@pytest.fixture
def study(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "study"))


@pytest.fixture
def answers(study: Path) -> dict[str, Any]:
    name, packet = min(read_packets(study).items())
    return {
        "format": "diffsensei-study-votes-1",
        "study": packet.study,
        "packet": name,
        "digest": packet_digest(packet),
        "signature": read_tokens(study)[name],
        "votes": [{"trial": trial.trial, "choices": CHOICES, "duration_ms": 4000} for trial in packet.trials],
    }


def test_votes_come_in_once(study: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    half, whole = tmp_path / "half.json", tmp_path / "whole.json"
    half.write_text(json.dumps(answers | {"votes": answers["votes"][:2]}))
    whole.write_text(json.dumps(answers))
    reports = import_votes(study=study, files=[half, whole, whole])
    assert [(report.added, report.known, report.refused) for report in reports] == [(2, 0, ""), (4, 2, ""), (0, 6, "")]
    assert len(read_votes(study)) == 6
    changed = json.loads(json.dumps(answers))
    changed["votes"][5]["choices"]["overall"] = 1
    whole.write_text(json.dumps(changed))
    (report,) = import_votes(study=study, files=[whole])
    assert (
        report.refused
        == f"trial {answers['votes'][5]['trial']}: was answered before, and otherwise; an answer is final"
    )
    assert len(read_votes(study)) == 6


def test_votes_that_come_two_weeks_later_are_counted(study: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    """A study waits as files, for as long as it takes: no process, server or run of its first day is left."""
    long_ago = time.time() - 15 * 86_400
    for path in (study, *study.rglob("*")):
        os.utime(path, (long_ago, long_ago))
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    for words in (("import", study, tmp_path / "answers.json"), ("analyse", study, "-o", tmp_path / "result")):
        done = CliRunner().invoke(app, ["study", *map(str, words)])
        assert done.exit_code == 0, done.output
    result = read_study(tmp_path / "result")
    assert result.state == "partial: 1 of 4 raters have finished, 0 have begun"
    assert result.everyone.raters == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "format: Input should be 'diffsensei-study-votes-1'"),
        ({"study": "0" * 24}, "votes of another study"),
        ({"packet": "0" * 24}, "no such packet"),
        ({"packet": "../../key"}, "packet: String should match pattern"),
        ({"signature": "0" * 48}, "not that of this packet's rater"),
        ({"digest": "0" * 64}, "not the one that was prepared"),
        ({"votes": [{"trial": "0" * 24, "choices": CHOICES, "duration_ms": 1}]}, "no such set"),
        (
            {"votes": [{"trial": "0" * 24, "choices": CHOICES, "duration_ms": 1}] * 1001},
            "votes: Tuple should have at most 1000 items",
        ),
        ({"note": "=HYPERLINK()"}, "note: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_is_not_right_changes_nothing(
    study: Path, answers: dict[str, Any], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(answers | change))
    (report,) = import_votes(study=study, files=[path])
    assert said in report.refused
    assert "\n" not in report.refused
    assert read_votes(study) == []


def test_a_trial_twice_in_one_file_and_files_that_are_none(
    study: Path, answers: dict[str, Any], tmp_path: Path
) -> None:
    twice, huge, text = tmp_path / "twice", tmp_path / "huge", tmp_path / "text"
    twice.write_text(json.dumps(answers | {"votes": [answers["votes"][0]] * 2}))
    huge.write_bytes(b" " * (MAX_FILE_BYTES + 1))
    text.write_bytes(b"\xff\xfe{")
    reports = import_votes(study=study, files=[twice, huge, text, tmp_path / "none", tmp_path])
    assert [bool(report.refused) for report in reports] == [True] * 5
    assert "answered before" in reports[0].refused
    assert "at most" in reports[1].refused
    assert read_votes(study) == []


def test_another_rater_s_token_does_not_sign(study: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    other = max(read_tokens(study).items())[1]
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(answers | {"signature": other}))
    (report,) = import_votes(study=study, files=[path])
    assert report.refused == "signature: not that of this packet's rater"
