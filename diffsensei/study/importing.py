"""Votes that come back as files from offline packets. Files are not trusted; a refused one changes nothing."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from diffsensei.config.base import Config
from diffsensei.study.ledger import Ledger, open_ledger
from diffsensei.study.packets import KeyRater, Name, read_key, read_packets, token_digest
from diffsensei.study.votes import StoredVote, Vote, check_vote, one_line

MAX_FILE_BYTES = 2 * 2**20
MAX_VOTES = 1000


class VoteFile(Config):
    """What an offline packet downloads."""

    format: Literal["diffsensei-study-votes-1"]
    study: Name
    packet: Name
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the packet that was answered."""
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{48}$")]
    """The rater's personal token, which only that packet holds."""
    votes: Annotated[tuple[Vote, ...], Field(max_length=MAX_VOTES)]


@dataclass(frozen=True)
class Imported:
    """What became of one file."""

    path: Path
    added: int
    known: int
    """Votes that the ledger had, word for word."""
    refused: str
    """Why nothing of it was taken; empty if it was."""


def import_votes(*, study: Path, files: Sequence[Path]) -> list[Imported]:
    """Add the votes of ``files`` to the study's ledger, a file whole or not at all; one report per file.

    Raises ValueError if the study, its key or its ledger cannot be used.
    """
    key, packets = read_key(study), read_packets(study)
    raters = {rater.packet: rater for rater in key.raters}
    with open_ledger(study) as ledger:
        reports = []
        for path in files:
            try:
                votes = _read(path)
                rater = _authenticated(votes, key.study, raters)
                for vote in votes.votes:
                    check_vote(packets[rater.packet], vote)
                reports.append(_add(path, votes, ledger))
            except ValueError as error:
                reports.append(Imported(path, 0, 0, str(error)))
    return reports


def _read(path: Path) -> VoteFile:
    if not path.is_file():
        raise ValueError("no such file")
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"expected at most {MAX_FILE_BYTES} bytes")
    try:
        return VoteFile.model_validate_json(data)
    except ValidationError as error:
        raise ValueError(one_line(error, "file")) from error


def _authenticated(votes: VoteFile, study: str, raters: dict[str, KeyRater]) -> KeyRater:
    if votes.study != study:
        raise ValueError("study: these are votes of another study")
    rater = raters.get(votes.packet)
    if rater is None:
        raise ValueError("packet: this study has no such packet")
    if not hmac.compare_digest(token_digest(votes.signature), rater.token_digest):
        raise ValueError("signature: not that of this packet's rater")
    if votes.digest != rater.digest:
        raise ValueError("digest: the packet that was answered is not the one that was prepared")
    return rater


def _add(path: Path, votes: VoteFile, ledger: Ledger) -> Imported:
    new = []
    for vote in votes.votes:
        kept = ledger.votes.get((votes.packet, vote.trial))
        if kept is None:
            new.append(StoredVote(packet=votes.packet, vote=vote, source="file", received=datetime.now(UTC)))
        elif kept.vote != vote:
            raise ValueError(f"trial {vote.trial}: was answered before, and otherwise; an answer is final")
    if new:
        ledger.append(new)
    return Imported(path, len(new), len(votes.votes) - len(new), "")
