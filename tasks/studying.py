"""The commands of the human study: the library's calls, and what a person is told."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from diffsensei.config import ExperimentConfig

PREFERENCES = (0.55, 0.6, 0.65, 0.7, 0.75)


def prepare(
    config: ExperimentConfig, benchmark: Path, drawings: Mapping[str, Path], output: Path, consent: Path | None
) -> Iterator[str]:
    """Prepare the study of ``config``; yields where things are."""
    from diffsensei.study.prepare import CONSENT, prepare_study

    text = tuple(consent.read_text().split("\n\n")) if consent else CONSENT
    prepare_study(
        study=config.study, seed=config.seed, benchmark=benchmark, drawings=drawings, output=output, consent=text
    )
    yield f"packets: {output / 'packets'} (blinded; for `study serve`)"
    yield f"key: {output / 'key'} (keep it from raters; invitations.csv has their tokens)"


def serve(study: Path, host: str, port: int, address: str, announce: Callable[[str], None]) -> None:
    """Serve until interrupted; ``announce`` gets what the organiser should know."""
    from diffsensei.study.server import serve as serve_study

    def tell(origin: str) -> None:
        announce(origin)
        announce(f"a rater opens {origin}/#TOKEN, with a token of key/invitations.csv")
        if not origin.startswith("https://") and host != "127.0.0.1":
            announce("warning: without https, tokens and votes can be read on the way")

    serve_study(study, host, port, address, tell)


def packets(study: Path, output: Path) -> list[Path]:
    """Offline packets of ``study``."""
    from diffsensei.study.offline import write_offline_packets

    return write_offline_packets(study=study, output=output)


def import_files(study: Path, files: Sequence[Path]) -> tuple[list[str], int]:
    """A line for each file, and how many were refused."""
    from diffsensei.study.importing import import_votes

    reports = import_votes(study=study, files=files)
    lines = [
        f"{report.path}: refused: {report.refused}"
        if report.refused
        else f"{report.path}: {report.added} votes added, {report.known} known already"
        for report in reports
    ]
    return lines, sum(bool(report.refused) for report in reports)


def analyse(study: Path, output: Path) -> Iterator[str]:
    """Analyse ``study``; yields the headline."""
    from diffsensei.study.analyse import analyse_study

    result = analyse_study(study=study, output=output)
    excluded = [row for row in result.raters if row.excluded]
    yield f"{result.state}; {result.kept.votes} sets by {result.kept.raters} raters, {len(excluded)} raters left out"
    for row in excluded:
        yield f"left out: {row.rater}: {row.excluded}"
    for share in result.kept.shares:
        if share.aspect == "overall":
            ends = f" [{share.low:.0%}, {share.high:.0%}]" if share.low is not None and share.high is not None else ""
            yield f"overall preference, {share.method}: {share.share:.0%}{ends}, shown {share.shown} times"
    yield str(output / "study.json")


def simulate(config: ExperimentConfig, methods: int, pages: int, studies: int, output: Path) -> Iterator[str]:
    """Plan for the budget of ``config``; writes `PowerResult` to ``output``."""
    from diffsensei.study.simulate import simulate_power

    result = simulate_power(
        config.study,
        num_methods=methods,
        num_pages=pages,
        preferences=PREFERENCES,
        studies=studies,
        seed=config.seed,
    )
    output.write_text(result.model_dump_json(indent=1) + "\n")
    yield f"{result.num_raters} raters x {result.items_per_rater} sets, {methods} methods, {result.form}"
    for row in result.rows:
        yield f"preferred {row.preference:.0%}: told apart in {row.told_apart:.0%} of studies"
    yield str(output)
