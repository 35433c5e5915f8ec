"""Checks a certificate the way a stranger would: from files alone, without the store, a network or a model.

It shows that the files are those the certificate speaks of and that its figures follow from the measurements beside
it. Who wrote them it cannot show: that is what a signature is for (`diffsensei release verify --public-key`).
"""

import math
from pathlib import Path

from diffsensei.config.base import Config
from diffsensei.evaluation.results import read_summary
from diffsensei.gate.certificate import CERTIFICATE, EVIDENCE, Certificate, RuleOutcome, StudyOutcome, read_certificate
from diffsensei.gate.decide import PREVIOUS, all_hold, decide_rules, decide_study, evidence_digests
from diffsensei.release.manifest import MANIFEST, check_manifest, file_sha256

TOLERANCE = 1e-9
"""Of recomputed figures: numeric libraries may differ in the last digits."""
_FIGURES = ("estimate", "low", "high", "threshold", "p_value", "raters", "alpha", "share", "share_low")


class Recheck(Config):
    """What was checked."""

    certificate: Certificate
    num_files: int
    """Files of the bundle whose checksum was found right."""
    num_evidence: int


def recheck(bundle: Path, certification: Path) -> Recheck:
    """Check ``bundle`` and the certificate in ``certification``, and compute every rule again.

    Raises ValueError, in one line, for the first thing that is not as the certificate says, and where it says that
    the gate was not passed.
    """
    certificate = read_certificate(certification)
    manifest = check_manifest(bundle)
    named = (manifest.name, manifest.version)
    if named != (certificate.name, certificate.version):
        raise ValueError(
            f"the certificate is for {certificate.name} {certificate.version}, the bundle is {' '.join(named)}; "
            "take both from one release"
        )
    _same("the bundle's manifest.json", certificate.bound.bundle, file_sha256(bundle / MANIFEST))
    num_evidence = _check_evidence(certificate, certification / EVIDENCE)
    rules = decide_rules(certificate.gate, certificate.version, certificate.evaluation, certification / EVIDENCE)
    study = decide_study(certificate.gate, certificate.version, certification / EVIDENCE)
    if [outcome.rule for outcome in certificate.rules] != list(certificate.gate.rules):
        raise ValueError(f"{certification / CERTIFICATE}: its outcomes are not those of its rules; run the gate again")
    for stated, computed in zip(certificate.rules, rules, strict=True):
        _agree(stated.rule.name, stated, computed)
    if (certificate.study is None) != (study is None):
        raise ValueError("the certificate and its gate disagree on whether a human study is needed; run the gate again")
    if certificate.study is not None and study is not None:
        _agree("human study", certificate.study, study)
    passed = all_hold(rules, study)
    if passed != certificate.passed:
        raise ValueError(
            f"the certificate says passed={certificate.passed}, its rules say {passed}; run the gate again"
        )
    if not passed:
        raise ValueError(f"{certificate.name} {certificate.version}: the gate was {certificate.verdict()}")
    return Recheck(certificate=certificate, num_files=len(manifest.files), num_evidence=num_evidence)


def _check_evidence(certificate: Certificate, evidence: Path) -> int:
    """How many files there are, once each is what the certificate is bound to and no other lies beside them."""
    bound = certificate.bound
    wanted = {"items.parquet": bound.items, "summary.json": bound.summary}
    wanted |= {f"{PREVIOUS}/items.parquet": bound.previous_items, f"{PREVIOUS}/summary.json": bound.previous_summary}
    wanted |= {"study.json": bound.study}
    wanted = {name: digest for name, digest in wanted.items() if digest}
    found = evidence_digests(evidence)
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            raise ValueError(f"evidence {name} is missing from {evidence}; take the whole release")
        if name not in wanted:
            raise ValueError(f"evidence {name} is not what the certificate rests on; remove it from {evidence}")
        _same(f"evidence {name}", wanted[name], found[name])
    summary = read_summary(evidence)
    _same("the benchmark of the scores", bound.benchmark, summary.benchmark_digest)
    if {metric.name: metric.digest for metric in summary.metrics} != bound.metrics:
        raise ValueError("the metrics' definitions are not those the certificate is bound to; run the gate again")
    return len(found)


def _same(what: str, stated: str, found: str) -> None:
    if stated != found:
        raise ValueError(
            f"{what} has sha256 {found[:12]}, the certificate says {stated[:12]}; take both from one release"
        )


def _agree(name: str, stated: RuleOutcome | StudyOutcome, computed: RuleOutcome | StudyOutcome) -> None:
    if stated.state != computed.state or stated.waiver != computed.waiver:
        raise ValueError(f"rule {name}: the certificate says {stated.state}, its evidence says {computed.state}")
    for figure in _FIGURES:
        one, other = getattr(stated, figure, None), getattr(computed, figure, None)
        if one is None and other is None:
            continue
        if one is None or other is None or not math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            raise ValueError(f"rule {name}: the certificate says {figure} {one}, its evidence gives {other}")
