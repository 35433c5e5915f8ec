"""The command line: what it says to a person who got something wrong, and what it shows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diffsensei.config import PAPER_SOURCES, load_preset
from flows.catalog import FLOWS
from flows.cli import app


def _invoke(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "everything"), f"unknown flow 'everything'; known: {', '.join(FLOWS)}"),
        (("run", "train", "--preset", "huge"), "unknown preset 'huge'; known: tiny, small, paper"),
        (("run", "train", "--set", "training.stage1.step=3"), "unknown field 'training.stage1.step'"),
        (("plan", "--set", "training.stage1.steps=-3"), "training.stage1.steps: Input should be greater than 0"),
        (("plan", "--set", "training.stage1.steps"), "expected path=value"),
        (("plan", "--gpu", "h200"), "none are cut yet; run `diffsensei run ingest`"),
        (("plan", "--gpu", "h300"), "unknown GPU 'h300'"),
        (("plan", "foundations"), "diffsensei run foundations"),
        (("run", "foundations", "--set", "parts=3"), "foundations has no parts; known: only, steps_scale"),
        (("plan", "ablations", "--set", "model.layout.boxes=3"), "unknown field 'model.layout.boxes'"),
        (("run", "study-analyse", "--set", "study=s", "--set", "seed=3"), "no seed; known: study, output"),
        (("run", "study-simulate", "--set", "output=o", "--set", "pages=9", "--set", "study.form=x"), "study.form"),
        (("plan", "evaluate", "--set", "checkpoints=some"), "expected all, configured, published, got 'some'"),
        (("plan", "drift-check"), "diffsensei run drift-check"),
        (("run", "drift-check", "--set", "pages=3"), "unknown field 'pages'"),
        (("evaluations",), "no evaluations of anything (known: none); run `diffsensei run evaluate`"),
        (("plan", "--set", "report.study=nowhere"), "'nowhere' has no study.json"),
        (("show", "tiny", "--set", "data.split=3"), "'data.split' is a section with fields"),
        (("generate", "nowhere.json", "--output", "out"), "nowhere.json does not exist"),
        (("generate", "/dev", "--output", "out"), "expected a JSON file"),
        (("generate", __file__, "--output", "out"), "no diffsensei-tiny is released (released: none)"),
        (("generate", __file__, "--output", "out", "--checkpoint", "/dev"), "/dev holds no pipeline"),
        (("generate", __file__, "-o", "out.png", "--character", "mika"), "expected NAME=FILE, got 'mika'"),
        (("data", "cast", "-o", "cast", "--preset", "paper"), "only a synthetic world has a cast"),
        (("data", "retry", "--reason", "timeout"), "nothing was downloaded into"),
        (("data", "retry", "--preset", "tiny"), "data.source.kind is synthetic"),
        (("data", "coverage", "--min-pages-share", "0.5"), "run `diffsensei run ingest`"),
        (("data", "hashes", "-o", "hashes.json"), "run `diffsensei run ingest`"),
        (("data", "check", "nowhere.json"), "annotation file nowhere.json does not exist"),
        (("data", "quarantine"), "nothing is validated under this configuration yet"),
        (("data", "docs", "-o", "docs"), "nothing is validated under this configuration yet"),
        (("report",), "diffsensei run full-pipeline"),
        (("report", "open"), "diffsensei run full-pipeline"),
        (("report", "serve", "--port", "0"), "diffsensei run full-pipeline"),
        (("report", "diff", "3f2a", "latest"), "diffsensei run full-pipeline"),
        (("report", "export", "--format", "xls"), "unknown format 'xls'; known: latex, markdown, csv, json"),
        (("release", "verify", "tiny-1.0.0"), "no version tiny-1.0.0 was released here; released: none"),
        (("release", "verify", "/dev"), "/dev/certification holds no certificate"),
        (("release", "publish"), "approved has no names; say which with --name"),
        (("release", "publish", "--name", "tiny"), "no tiny is approved; `diffsensei run release`"),
        (("release", "rollback", "latest", "1", "--reason", "x"), "unknown channel 'latest'; known: candidate"),
        (
            ("release", "rollback", "released", "1", "--reason", "x", "--name", "tiny"),
            "has no generation 1; known: none",
        ),
        (("release", "push", "out", "--name", "tiny"), "no tiny is released (released: none)"),
        (("release", "pull", "nowhere", "tiny", "1.0.0", "-o", "out"), "nowhere has no tiny 1.0.0; there: none"),
        (("tombstone", "a/1.jpg", "--reason", " "), "a tombstone needs a reason"),
        (("store", "gc", "--keep-days", "-1"), "at least 0"),
        (("data", "preview", "--set", 'data.source={"kind": "mangazero", "annotations": "a.json"}'), "synthetic"),
    ],
)
def test_user_errors_are_one_line_and_exit_code_2(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    code, out, err = _invoke(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "store").exists(), "nothing may be started"


def test_the_schema_of_stories_is_printed() -> None:
    code, out, _ = _invoke("story", "schema")
    committed = Path(__file__).parents[2] / "docs" / "story.schema.json"
    assert (code, out) == (0, committed.read_text()), "diffsensei story schema > docs/story.schema.json"


def test_an_annotation_file_is_checked(tmp_path: Path) -> None:
    page = {"image_path": "../1.jpg", "frames": [], "meta": {"url1": "a", "url2": "b", "width1": 1, "width2": 1}}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps([page]))
    code, out, err = _invoke("data", "check", str(path), "-o", str(tmp_path / "checked"))
    assert code == 1
    assert "bad_path" in out
    assert "max_quarantine_rate" in err
    assert json.loads((tmp_path / "checked" / "counts.json").read_text())["page"]["quarantined"] == 1
    code, out, _ = _invoke("data", "check", str(path), "--set", "data.validation.max_quarantine_rate=1.0")
    assert code == 0


def test_a_cast_is_drawn_with_its_words(tmp_path: Path) -> None:
    code, out, _ = _invoke("data", "cast", "--series", "2", "-o", str(tmp_path))
    assert code == 0
    assert f"{tmp_path}/long-ribbon.png: long black hair, ribbon, black shirt" in out.splitlines()
    assert len(list(tmp_path.iterdir())) == len(out.splitlines())


def test_no_traceback_reaches_the_person_unless_asked_for() -> None:
    program = Path(sys.executable).with_name("diffsensei")
    wrong = [program, "show", "huge"]
    done = subprocess.run(wrong, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "error: unknown preset 'huge'; known: tiny, small, paper\n",
    )
    asked = subprocess.run([program, "--debug", "show", "huge"], capture_output=True, text=True)
    assert asked.returncode != 0
    assert "Traceback" in asked.stderr


def test_show_gives_every_field_and_every_source() -> None:
    code, out, _ = _invoke("show", "paper")
    assert code == 0
    lines = {line.partition(" = ")[0]: line for line in out.splitlines()}
    assert lines.keys() >= PAPER_SOURCES.keys()
    for path, source in PAPER_SOURCES.items():
        assert lines[path].endswith(f"# {source}")


def test_show_marks_what_was_set() -> None:
    _, out, _ = _invoke("show", "tiny", "--set", "training.stage2.steps=7")
    marked = [line.split()[:3] for line in out.splitlines() if "set on the command line" in line]
    assert marked == [["training.stage2.steps", "=", "7"]]


def test_show_json_is_the_configuration() -> None:
    _, out, _ = _invoke("show", "tiny", "--json")
    assert json.loads(out) == load_preset("tiny").model_dump(mode="json")


def test_help_names_every_flow() -> None:
    _, out, _ = _invoke("run", "--help")
    unwrapped = "".join(out.split())
    assert all(name in unwrapped for name in FLOWS)
