"""The stage: certificate, waivers and the human study."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from diffsensei.gate.certificate import Certificate, read_certificate
from diffsensei.release.manifest import file_sha256
from diffsensei.study.results import AgreementRow, PositionRow, ShareRow, StudyResult, Tables
from tests.gate.conftest import Candidate, gate, rule

WAIVER = {
    "rule": "far",
    "version": "0.1.0",
    "by": "R. Editor",
    "reason": "identity was traded for layout on purpose",
}
FAR = rule(name="far", margin=0.3)
STUDY = {"min_raters": 3, "min_alpha": 0.2, "min_share": 0.4}


def _certificate(folder: Path) -> Certificate:
    return read_certificate(folder)


def test_a_certificate_names_what_it_rests_on(candidate: Candidate) -> None:
    folder = candidate.certify(gate(rule()))
    certificate = _certificate(folder)
    assert certificate.passed
    assert certificate.verdict() == "passed: 1 of 1 rules hold"
    bound = certificate.bound
    assert bound.bundle == file_sha256(candidate.bundle / "manifest.json")
    assert bound.split == file_sha256(candidate.panels / "split.json")
    assert (
        bound.items == file_sha256(candidate.score / "items.parquet") == file_sha256(folder / "evidence/items.parquet")
    )
    assert bound.metrics.keys() == {"dino_c", "dialog_f1", "fid"}
    assert (bound.study, bound.previous_items) == ("", "")


def test_the_same_inputs_give_the_same_bytes(candidate: Candidate) -> None:
    one, other = (candidate.certify(gate(rule(), FAR)) / "certificate.json" for _ in range(2))
    assert one.read_bytes() == other.read_bytes()


def test_a_failed_rule_is_written_down_and_not_raised(candidate: Candidate) -> None:
    certificate = _certificate(candidate.certify(gate(rule(), FAR)))
    assert not certificate.passed
    assert certificate.verdict().startswith("not passed: far: dino_c of diffsensei against sdxl_t2i: +0.1")


def test_a_waiver_holds_for_its_version_and_is_on_record(candidate: Candidate) -> None:
    waived = gate(rule(), FAR, waivers=[WAIVER])
    certificate = _certificate(candidate.certify(waived))
    assert certificate.passed
    assert [outcome.state for outcome in certificate.rules] == ["passed", "waived"]
    assert certificate.waivers[0].reason == WAIVER["reason"]
    assert "1 waived (far by R. Editor)" in certificate.verdict()
    assert not _certificate(candidate.certify(waived, version="0.2.0")).passed


def test_a_waiver_needs_a_known_rule_a_name_and_a_reason() -> None:
    for changed, said in (
        ({"rule": "identiy"}, "no rule identiy; known: far"),
        ({"by": ""}, "at least 1 character"),
        ({"reason": "because"}, "at least 10 characters"),
    ):
        with pytest.raises(ValidationError, match=said):
            gate(FAR, waivers=[WAIVER | changed])


def test_scores_of_another_benchmark_are_refused(candidate: Candidate) -> None:
    (candidate.benchmark / "panels.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="run the score stage again"):
        candidate.certify(gate(rule()))


def _study(folder: Path, *, raters: int = 5, alpha: float = 0.3, low: float = 0.45, state: str = "complete") -> Path:
    tables = Tables(
        raters=raters,
        votes=50,
        shares=(
            ShareRow(
                aspect="overall",
                method="diffsensei",
                share=0.6,
                low=low,
                high=0.7,
                wins=30,
                no_difference=0,
                shown=50,
            ),
        ),
        strengths=(),
        contrasts=(),
        wins=(),
        agreement=(AgreementRow(aspect="overall", alpha=alpha, low=None, high=None, units=20, ratings=40),),
        position=PositionRow(shares=(0.5, 0.5), p_value=None),
    )
    result = StudyResult(
        study="s",
        form="pairs",
        state=state,
        rule="",
        aspects=(),
        methods=("diffsensei",),
        num_page_sets=10,
        confidence=0.95,
        resamples=100,
        raters=(),
        kept=tables,
        everyone=tables,
    )
    folder.mkdir()
    (folder / "study.json").write_text(result.model_dump_json())
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"raters": 2}, "2 raters, needed 3"),
        ({"alpha": 0.1}, "agreement 0.100, needed 0.2"),
        ({"low": 0.3}, "needed 0.4"),
        ({"state": "partial: 3 of 5"}, "it is partial: 3 of 5"),
    ],
)
def test_a_study_must_be_complete_agree_and_prefer(
    candidate: Candidate, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    folder = _study(tmp_path / "study", **changes)  # type: ignore[arg-type]
    certificate = _certificate(candidate.certify(gate(rule(), study=STUDY), study=folder))
    assert certificate.study is not None
    assert certificate.passed == (not said)
    assert said in certificate.study.detail
    assert certificate.bound.study == file_sha256(folder / "study.json")


def test_without_the_study_it_asks_for_a_gate_fails_unless_waived(candidate: Candidate) -> None:
    certificate = _certificate(candidate.certify(gate(rule(), study=STUDY)))
    assert "human study: there is none; set report.study" in certificate.verdict()
    waived = gate(rule(), study=STUDY, waivers=[WAIVER | {"rule": "study"}])
    assert _certificate(candidate.certify(waived)).passed
