"""The gate as a stage: test every rule, take waivers into account, write certificate and evidence."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from diffsensei.config.gate import STUDY, GateConfig, StudyRule, Waiver
from diffsensei.config.schema import EvaluationConfig, ReleaseConfig
from diffsensei.evaluation.comparability import benchmark_digest
from diffsensei.gate.certificate import CERTIFICATE, EVIDENCE, Bound, Certificate, RuleOutcome, State, StudyOutcome
from diffsensei.gate.claims import Scores, check_rule
from diffsensei.progress import Progress
from diffsensei.release.manifest import MANIFEST, file_sha256
from diffsensei.study.results import read_study

PREVIOUS = "previous"


def certify(
    *,
    gate: GateConfig,
    release: ReleaseConfig,
    evaluation: EvaluationConfig,
    configuration: str,
    bundle: Path,
    verify: Path,
    score: Path,
    benchmark: Path,
    panels: Path,
    workspace: Path,
    output: Path,
    previous: Path | None = None,
    study: Path | None = None,
) -> None:
    """Write ``evidence/`` and ``certificate.json``; a rule that fails is written down and raises nothing.

    Args:
        configuration: sha256 of the configuration that made the candidate.
        verify: result of `verify_bundle`.
        panels: folder with ``split.json``.
        previous: scores of the last release of another version, or None.
        study: folder of an analysed study, or None.

    Raises ValueError where the scores are not those of ``benchmark``, or a rule names what no benchmark has.
    """
    progress = Progress(workspace / "progress.json", "Testing the release rules", 1 + len(gate.rules), "rules")
    scores = Scores.read(score)
    frozen = benchmark_digest(benchmark)
    if scores.summary.benchmark_digest != frozen:
        raise ValueError(
            f"the scores are of benchmark {scores.summary.benchmark_digest[:12]}, this one is {frozen[:12]}; "
            "run the score stage again"
        )
    kept = keep_evidence(output / EVIDENCE, score, previous, study)
    progress.advance()
    rules = decide_rules(gate, release.version, evaluation, output / EVIDENCE)
    progress.advance(len(gate.rules))
    judged = decide_study(gate, release.version, output / EVIDENCE)
    certificate = Certificate(
        name=release.name,
        version=release.version,
        passed=all_hold(rules, judged),
        rules=rules,
        study=judged,
        gate=gate,
        evaluation=evaluation,
        bound=Bound(
            bundle=file_sha256(bundle / MANIFEST),
            verification=file_sha256(verify / "verification.json"),
            benchmark=frozen,
            split=file_sha256(panels / "split.json"),
            items=kept["items.parquet"],
            summary=kept["summary.json"],
            metrics={metric.name: metric.digest for metric in scores.summary.metrics},
            configuration=configuration,
            previous_items=kept.get(f"{PREVIOUS}/items.parquet", ""),
            previous_summary=kept.get(f"{PREVIOUS}/summary.json", ""),
            study=kept.get("study.json", ""),
        ),
    )
    (output / CERTIFICATE).write_text(certificate.model_dump_json(indent=1) + "\n")


def all_hold(rules: tuple[RuleOutcome, ...], study: StudyOutcome | None) -> bool:
    """Whether nothing failed without being waived."""
    return all(outcome.state != "failed" for outcome in rules) and (study is None or study.state != "failed")


def keep_evidence(folder: Path, score: Path, previous: Path | None, study: Path | None) -> dict[str, str]:
    """Copy what the rules are computed from into ``folder``; relative path -> sha256."""
    wanted = {name: score / name for name in ("items.parquet", "summary.json")}
    if previous is not None:
        wanted |= {f"{PREVIOUS}/{name}": previous / name for name in ("items.parquet", "summary.json")}
    if study is not None:
        wanted["study.json"] = study / "study.json"
    for name, source in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
    return evidence_digests(folder)


def evidence_digests(folder: Path) -> dict[str, str]:
    """Relative path -> sha256 of every file of the evidence."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def decide_rules(
    gate: GateConfig, version: str, evaluation: EvaluationConfig, evidence: Path
) -> tuple[RuleOutcome, ...]:
    """Every rule of ``gate`` on the ``evidence`` alone, with the waivers for ``version``."""
    scores = Scores.read(evidence)
    previous = Scores.read(evidence / PREVIOUS) if (evidence / PREVIOUS).is_dir() else None
    waivers = _waivers(gate, version)
    outcomes = []
    for rule in gate.rules:
        outcome = check_rule(rule, scores, previous, evaluation)
        waiver = waivers.get(rule.name)
        if outcome.state == "failed" and waiver is not None:
            outcome = outcome.replaced(state="waived", waiver=waiver)
        outcomes.append(outcome)
    return tuple(outcomes)


def decide_study(gate: GateConfig, version: str, evidence: Path) -> StudyOutcome | None:
    """The human study on the ``evidence`` alone; None where the gate asks for none."""
    if gate.study is None:
        return None
    outcome = _check_study(gate.study, evidence)
    waiver = _waivers(gate, version).get(STUDY)
    if outcome.state == "failed" and waiver is not None:
        return outcome.replaced(state="waived", waiver=waiver)
    return outcome


def _check_study(rule: StudyRule, evidence: Path) -> StudyOutcome:
    if not (evidence / "study.json").is_file():
        return StudyOutcome(rule=rule, state="failed", detail="there is none; set report.study to an analysed study")
    study = read_study(evidence)
    kept = study.kept
    alpha = next((row.alpha for row in kept.agreement if row.aspect == rule.aspect), None)
    share = next((row for row in kept.shares if (row.aspect, row.method) == (rule.aspect, rule.method)), None)
    low = None if share is None else share.low
    missed = []
    if study.state != "complete":
        missed.append(f"it is {study.state}")
    if kept.raters < rule.min_raters:
        missed.append(f"{kept.raters} raters, needed {rule.min_raters}")
    if alpha is None or alpha < rule.min_alpha:
        missed.append(f"agreement {'unknown' if alpha is None else f'{alpha:.3f}'}, needed {rule.min_alpha:g}")
    if share is None:
        missed.append(f"it has no votes on {rule.aspect} for {rule.method}")
    elif low is None or low < rule.min_share:
        ended = "unknown" if low is None else f"{low:.3f}"
        missed.append(f"{rule.method} preferred in {share.share:.3f} (from {ended}), needed {rule.min_share:g}")
    state: State = "failed" if missed else "passed"
    return StudyOutcome(
        rule=rule,
        state=state,
        raters=kept.raters,
        alpha=alpha,
        share=None if share is None else share.share,
        share_low=low,
        detail="; ".join(missed),
    )


def _waivers(gate: GateConfig, version: str) -> Mapping[str, Waiver]:
    return {waiver.rule: waiver for waiver in gate.waivers if waiver.version == version}
