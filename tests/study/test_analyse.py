"""From the ledger to the result and its tables."""

import csv
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diffsensei.study.analyse import analyse_study
from diffsensei.study.ledger import open_ledger
from diffsensei.study.packets import StudyKey, read_key
from diffsensei.study.results import PowerResult, StudyResult, read_study
from diffsensei.study.votes import StoredVote, Vote
from flows.cli import app
from tests.study.conftest import METHODS


@pytest.fixture
def study(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "study"))


def answer_all(study: Path, key: StudyKey, careless: int = -1) -> None:
    """Everybody prefers the first method where it is shown, and the true page; but rater ``careless`` the ruin."""
    with open_ledger(study) as ledger:
        for number, rater in enumerate(key.raters):
            for trial in rater.trials:
                wanted = "ruin" if number == careless else "truth"
                best = next((i for i, m in enumerate(trial.methods) if m in (METHODS[0], wanted)), None)
                vote = Vote(trial=trial.trial, choices={aspect.name: best for aspect in key.aspects}, duration_ms=9000)
                stored = StoredVote(packet=rater.packet, vote=vote, source="file", received=datetime.now(UTC))
                ledger.append([stored])


def test_no_votes_and_some_are_states(study: Path, tmp_path: Path) -> None:
    result = analyse_study(study=study, output=tmp_path / "result")
    assert (result.state, result.kept.votes, result.kept.shares) == ("no votes", 0, ())
    assert read_study(tmp_path / "result") == result
    key = read_key(study)
    answer_all(study, key.replaced(raters=key.raters[:1]))
    assert analyse_study(study=study, output=tmp_path / "result").state == (
        "partial: 1 of 4 raters have finished, 0 have begun"
    )


def test_everything_is_reported_with_and_without_whom_the_rule_leaves_out(study: Path, tmp_path: Path) -> None:
    answer_all(study, read_key(study), careless=2)
    result = analyse_study(study=study, output=tmp_path / "result")
    assert result.state == "complete"
    assert [row.excluded for row in result.raters] == ["", "", "failed 2 of 2 attention checks", ""]
    assert (result.kept.raters, result.everyone.raters) == (3, 4)
    assert (result.kept.votes, result.everyone.votes) == (9, 12)
    best = next(row for row in result.kept.shares if row.method == METHODS[0] and row.aspect == "overall")
    assert best.share == 1
    assert all(row.repeats_same == row.repeats_answered == 5 for row in result.raters)
    assert StudyResult.model_validate_json((tmp_path / "result" / "study.json").read_text()) == result


def test_tables_hold_no_formulas(study: Path, tmp_path: Path) -> None:
    answer_all(study, read_key(study))
    analyse_study(study=study, output=tmp_path)
    for name in ("votes.csv", "raters.csv"):
        with (tmp_path / name).open(newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) > 1
        assert not any(cell.startswith(("=", "+", "@", "-")) for row in rows for cell in row)
    assert f"'{METHODS[0]}" in (tmp_path / "votes.csv").read_text()


def test_another_study_s_votes_are_refused(study: Path, tmp_path: Path) -> None:
    answer_all(study, read_key(study))
    path = study / "key" / "key.json"
    key = json.loads(path.read_text())
    key["raters"] = key["raters"][1:]
    path.write_text(json.dumps(key))
    with pytest.raises(ValueError, match="votes and key differ"):
        analyse_study(study=study, output=tmp_path)


def test_the_commands(benchmark_folder: Path, drawings: dict[str, Path], tmp_path: Path) -> None:
    def run(*arguments: object) -> str:
        done = CliRunner().invoke(app, ["study", *map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.output

    small = ["--set", "study.num_raters=2", "--set", "study.items_per_rater=3", "--set", "study.page_width=240"]
    named = [part for method, folder in drawings.items() for part in ("-m", f"{method.strip('=')}={folder}")]
    study = tmp_path / "study"
    assert "keep it from raters" in run("prepare", benchmark_folder, "-o", study, *named, *small)
    assert run("packets", study, "--output", tmp_path / "send").count(".html") == 2
    assert "no votes" in run("analyse", study, "-o", tmp_path / "result")
    power = tmp_path / "power.json"
    out = run("simulate", "-o", power, "--studies", 1, "--methods", 2, "--pages", 20, *small)
    assert "told apart in" in out
    assert len(PowerResult.model_validate_json(power.read_text()).rows) == 5
    refused = CliRunner().invoke(app, ["study", "import", str(study), str(power)])
    assert (refused.exit_code, "refused: format: Field required" in refused.output) == (1, True)
    wrong = CliRunner().invoke(app, ["study", "prepare", str(benchmark_folder), "-o", "x", "-m", "ours"])
    assert (wrong.exit_code, "--method: expected NAME=FILE, got 'ours'" in wrong.output) == (2, True)
