"""Checking a certificate from files alone: what was tampered with is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from diffsensei.gate.recheck import recheck
from diffsensei.release.manifest import write_manifest
from tests.gate.conftest import CONFIG, Candidate, gate, rule

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def certified(candidate: Candidate) -> tuple[Path, Path]:
    """A bundle and its certificate."""
    return candidate.bundle, candidate.certify(
        gate(rule(), rule(name="dialogs", metric="dialog_f1", claim="not_inferior", margin=0.2))
    )


def _edit(certification: Path, change: Edit) -> None:
    path = certification / "certificate.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_whole_release_passes_wherever_it_lies(certified: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, certification = certified
    shutil.copytree(bundle, tmp_path / "copy")
    shutil.copytree(certification, tmp_path / "copy" / "certification")
    checked = recheck(tmp_path / "copy", tmp_path / "copy" / "certification")
    assert (checked.num_files, checked.num_evidence) == (1, 2)
    assert checked.certificate.passed


def test_changed_weights_and_another_bundle_are_refused(certified: tuple[Path, Path]) -> None:
    bundle, certification = certified
    (bundle / "weights.safetensors").write_bytes(b"weightz")
    with pytest.raises(ValueError, match=r"weights\.safetensors has sha256"):
        recheck(bundle, certification)
    write_manifest(bundle, CONFIG.release.name, "0.1.0")  # with fresh checksums
    with pytest.raises(ValueError, match=r"manifest\.json has sha256 .* the certificate says"):
        recheck(bundle, certification)
    write_manifest(bundle, CONFIG.release.name, "0.2.0")
    with pytest.raises(ValueError, match=r"is for diffsensei-tiny 0\.1\.0, the bundle is diffsensei-tiny 0\.2\.0"):
        recheck(bundle, certification)


def test_changed_missing_and_added_evidence_is_named(certified: tuple[Path, Path]) -> None:
    bundle, certification = certified
    path = certification / "evidence" / "items.parquet"
    added = certification / "evidence" / "study.json"
    added.write_text("{}")
    with pytest.raises(ValueError, match=r"evidence study\.json is not what the certificate rests on"):
        recheck(bundle, certification)
    added.unlink()
    items = pd.read_parquet(path)
    items.loc[items["method"] == "diffsensei", "value"] += 0.1
    items.to_parquet(path, index=False)
    with pytest.raises(ValueError, match=r"evidence items\.parquet has sha256"):
        recheck(bundle, certification)
    path.unlink()
    with pytest.raises(ValueError, match=r"evidence items\.parquet is missing"):
        recheck(bundle, certification)


def _better(content: dict[str, Any]) -> None:
    content["rules"][0]["estimate"] = 0.9


def _weaker(content: dict[str, Any]) -> None:
    content["gate"]["rules"][0]["margin"] = content["rules"][0]["rule"]["margin"] = 0.3


def _fewer(content: dict[str, Any]) -> None:
    del content["rules"][0]


def _failed(content: dict[str, Any]) -> None:
    content["passed"] = False


def _waived(content: dict[str, Any]) -> None:
    content["rules"][0]["state"] = "waived"


def _other_metric(content: dict[str, Any]) -> None:
    content["bound"]["metrics"]["dino_c"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_better, "rule identity: the certificate says estimate 0.9"),
        (_weaker, "rule identity: the certificate says passed, its evidence says failed"),
        (_fewer, "its outcomes are not those of its rules"),
        (_failed, "passed=False, its rules say True"),
        (_waived, "the certificate says waived, its evidence says passed"),
        (_other_metric, "definitions are not those"),
        (lambda content: content.pop("rules"), "is no certificate: rules"),
    ],
)
def test_an_edited_certificate_is_refused(certified: tuple[Path, Path], change: Edit, said: str) -> None:
    bundle, certification = certified
    _edit(certification, change)
    with pytest.raises(ValueError, match=said):
        recheck(bundle, certification)


def test_a_gate_that_was_not_passed_is_no_release(candidate: Candidate) -> None:
    certification = candidate.certify(gate(rule(margin=0.3)))
    with pytest.raises(ValueError, match=r"the gate was not passed: identity: dino_c of diffsensei"):
        recheck(candidate.bundle, certification)


def test_a_folder_without_a_certificate_says_what_to_do(candidate: Candidate, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no certificate"):
        recheck(candidate.bundle, tmp_path)
