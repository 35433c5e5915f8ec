"""A study's votes to ``study.json`` and to tables for a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from diffsensei.study.ballots import Ballot, rater_rows, rule_in_words, unblind
from diffsensei.study.ledger import read_votes
from diffsensei.study.packets import StudyKey, read_key
from diffsensei.study.preference import tabulate
from diffsensei.study.results import RaterRow, StudyResult, Tables

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def analyse_study(*, study: Path, output: Path) -> StudyResult:
    """Write ``study.json``, ``votes.csv`` (unblinded) and ``raters.csv`` into the folder ``output``.

    Everything is computed with the rules that the study was prepared with. Raises ValueError without a key or where
    votes and key do not belong together. A study without votes is a result too, and says so.
    """
    key = read_key(study)
    ballots = unblind(read_votes(study), key)
    rows = rater_rows(ballots, {rater.rater: len(rater.trials) for rater in key.raters}, key.config)
    kept = {row.rater for row in rows if not row.excluded}
    everyone = _tables(ballots, key)
    result = StudyResult(
        study=key.study,
        form=key.config.form,
        state=_state(rows),
        rule=rule_in_words(key.config),
        aspects=key.aspects,
        methods=key.methods,
        num_page_sets=len({t.page_id for rater in key.raters for t in rater.trials if t.kind == "item"}),
        confidence=key.config.confidence,
        resamples=key.config.bootstrap_resamples,
        raters=tuple(rows),
        kept=everyone if len(kept) == len(rows) else _tables([b for b in ballots if b.rater in kept], key),
        everyone=everyone,
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / "study.json").write_text(result.model_dump_json(indent=1) + "\n")
    (output / "votes.csv").write_text(_table(_vote_lines(ballots, kept)), newline="")
    (output / "raters.csv").write_text(_table(_rater_lines(rows)), newline="")
    return result


def _tables(ballots: Sequence[Ballot], key: StudyKey) -> Tables:
    return tabulate(
        ballots,
        key.methods,
        [aspect.name for aspect in key.aspects],
        resamples=key.config.bootstrap_resamples,
        confidence=key.config.confidence,
        seed=key.seed,
    )


def _state(rows: Sequence[RaterRow]) -> str:
    finished = sum(row.answered == row.trials for row in rows)
    if finished == len(rows):
        return "complete"
    begun = sum(row.answered > 0 for row in rows)
    if not begun:
        return "no votes"
    return f"partial: {finished} of {len(rows)} raters have finished, {begun - finished} have begun"


def _vote_lines(ballots: Sequence[Ballot], kept: set[str]) -> Iterable[Sequence[object]]:
    yield "rater", "kept", "kind", "page", "methods", "aspect", "preferred", "seconds"
    for ballot in ballots:
        for aspect in ballot.choices:
            yield (
                ballot.rater,
                "yes" if ballot.rater in kept else "no",
                ballot.kind,
                ballot.page,
                " | ".join(ballot.methods),
                aspect,
                ballot.chosen(aspect) or "no difference",
                ballot.duration_s,
            )


def _rater_lines(rows: Sequence[RaterRow]) -> Iterable[Sequence[object]]:
    yield tuple(RaterRow.model_fields)
    for row in rows:
        yield tuple(row.model_dump().values())


def _table(lines: Iterable[Sequence[object]]) -> str:
    """CSV in which no text is a formula to a spreadsheet: such texts get an apostrophe before them."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    for line in lines:
        table.writerow([f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA) else v for v in line])
    return text.getvalue()
