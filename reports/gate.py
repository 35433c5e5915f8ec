"""The release gate as the report shows it: the verdict, and every rule with what the items say."""

from dataclasses import dataclass
from pathlib import Path

from diffsensei.config.gate import AgainstMethod, AgainstPrevious, GateRule
from diffsensei.gate.certificate import CERTIFICATE, Certificate, RuleOutcome, read_certificate

STATES = {"passed": "holds", "failed": "fails", "waived": "waived", "no_baseline": "nothing to compare with"}


@dataclass(frozen=True)
class RuleRow:
    """One rule in words."""

    name: str
    claim: str
    state: str
    figure: str
    detail: str


@dataclass(frozen=True)
class GateView:
    """What the page needs of a certificate."""

    passed: bool
    verdict: str
    summary: str
    """The verdict without reasons: what holds, or the names of what fails."""
    rules: tuple[RuleRow, ...]
    study: str
    waivers: tuple[str, ...]


def gate_view(folder: Path | None) -> GateView | None:
    """The certificate in ``folder`` for the page; None where the run had no gate. Raises ValueError for a bad one."""
    if folder is None or not (folder / CERTIFICATE).is_file():
        return None
    certificate = read_certificate(folder)
    return GateView(
        passed=certificate.passed,
        verdict=certificate.verdict(),
        summary=_summary(certificate),
        rules=tuple(_row(outcome) for outcome in certificate.rules),
        study=_study(certificate),
        waivers=tuple(f"{waiver.rule}, by {waiver.by}: {waiver.reason}" for waiver in certificate.waivers),
    )


def _summary(certificate: Certificate) -> str:
    if certificate.passed:
        return certificate.verdict().partition(": ")[2]
    failed = [line.partition(": ")[0] for line in certificate.failures()]
    return f"{', '.join(failed)} {'fails' if len(failed) == 1 else 'fail'}"


def _row(outcome: RuleOutcome) -> RuleRow:
    figure = ""
    if outcome.estimate is not None:
        figure = (
            f"{outcome.estimate:+.3f} [{outcome.low:+.3f}, {outcome.high:+.3f}], needed more than "
            f"{outcome.threshold:+.3f}; p {outcome.p_value:.2g}, {outcome.num_pages} pages"
        )
    return RuleRow(outcome.rule.name, _claim(outcome.rule), STATES[outcome.state], figure, outcome.detail)


def _claim(rule: GateRule) -> str:
    if isinstance(rule.against, AgainstMethod):
        other = rule.against.method
    else:
        other = "the previous release" if isinstance(rule.against, AgainstPrevious) else f"{rule.against.value:g}"
    what = "better than" if rule.claim == "superior" else "not worse than"
    margin = f" by more than {rule.margin:g}" if rule.margin else ""
    return f"{rule.metric} of {rule.method} {what} {other}{margin} (alpha {rule.alpha:g})"


def _study(certificate: Certificate) -> str:
    if certificate.study is None:
        return ""
    return f"human study: {STATES[certificate.study.state]}" + (
        f" ({certificate.study.detail})" if certificate.study.detail else ""
    )
