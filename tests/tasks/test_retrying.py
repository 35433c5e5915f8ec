"""A wish to try dead urls again, from the command to the next run's requests."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diffsensei.config import load_preset
from flows.cli import app
from infra.execution import execute
from infra.jobs.local import LocalBackend
from infra.outcome import StageResult
from infra.stage import Action
from tasks.publication import open_store
from tasks.stages import pipeline_stages
from tasks.stages.data import library_folder

URLS = ["https://127.0.0.1/1.png", "ftp://mangadex.org/2.png"]
"""Refused without a request, so that the test needs no network."""
WITHOUT_WEIGHTS = [
    *(f"model.foundations.{name}=none" for name in ("vae", "text_encoder", "text_encoder_2", "llm")),
    *(f"model.foundations.{name}=none" for name in ("clip_image_encoder", "magi_image_encoder")),
    *(f"evaluation.judges.{name}=none" for name in ("clip", "dino", "dialog_detector", "fid_features")),
]


@pytest.mark.slow
def test_the_next_run_tries_again_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DIFFSENSEI_LIMITS", str(tmp_path / "limits"))
    page = {"image_path": "a/1.jpg", "frames": [], "meta": {"url1": URLS[0], "url2": URLS[1], "width1": 9, "width2": 9}}
    (tmp_path / "annotations").mkdir()
    file = tmp_path / "annotations" / "annotations.json"
    file.write_text(json.dumps([page]))
    source = {"kind": "mangazero", "annotations": str(file), "accept_download": True, "contact": "me@example.org"}
    override = f"data.source={json.dumps(source)}"
    store = open_store()
    annotations = store.publish_object(tmp_path / "annotations", "annotations")

    def run() -> StageResult:
        config = load_preset("tiny", [override, *WITHOUT_WEIGHTS])
        (stage,) = (stage for stage in pipeline_stages(config) if stage.name == "download")
        values = stage.values(config.model_dump(mode="json"))
        return asyncio.run(execute(stage, values, {"annotations": annotations}, store, LocalBackend()))

    def retry(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["data", "retry", "--set", override, *arguments])
        return done.exit_code, done.stdout + done.stderr

    def tried() -> list[str]:
        lines = map(json.loads, (library_folder() / "journal.jsonl").read_text().splitlines())
        return [line["url"] for line in lines if "url" in line]

    first = run()
    assert sorted(tried()) == sorted(URLS)
    assert run().action is Action.REUSE
    code, said = retry()
    assert (code, said.count("\n")) == (2, 1)
    assert "bad_url (1), forbidden_host (1)" in said
    assert retry("--reason", "forbidden_host") == (0, "forbidden_host: 1 to be tried again\n")
    again = run()
    assert again.action is Action.RUN
    assert sorted(tried()) == sorted([*URLS, URLS[0]])
    assert again.object == first.object, "nothing new came of it, so nothing downstream is moved"
    assert run().action is Action.REUSE
