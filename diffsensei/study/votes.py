"""What a rater answers, and whether it is an answer to what was asked."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StrictInt, ValidationError

from diffsensei.config.base import Config
from diffsensei.study.packets import Name, Packet

DAY_MS = 86_400_000
MAX_ASPECTS = 16


class Vote(Config):
    """The answers to one set. It is final: there is no revision."""

    trial: Name
    choices: Annotated[dict[Annotated[str, Field(max_length=64)], StrictInt | None], Field(max_length=MAX_ASPECTS)]
    """By aspect the place, from 0, of the chosen page; null for no difference."""
    duration_ms: Annotated[StrictInt, Field(ge=0, le=DAY_MS)]
    """From seeing the set to sending the answers."""


class StoredVote(Config):
    """A vote in the ledger."""

    packet: Name
    vote: Vote
    source: Literal["server", "file"]
    received: AwareDatetime


def parse_vote(body: bytes) -> Vote:
    """Raises ValueError, in one line, for what is no vote."""
    try:
        return Vote.model_validate_json(body)
    except ValidationError as error:
        raise ValueError(one_line(error, "vote")) from error


def check_vote(packet: Packet, vote: Vote) -> None:
    """Raises ValueError unless ``vote`` answers every aspect of a trial of ``packet`` with a place there is."""
    trial = next((trial for trial in packet.trials if trial.trial == vote.trial), None)
    if trial is None:
        raise ValueError("trial: this packet has no such set")
    expected = {aspect.name for aspect in packet.aspects}
    if vote.choices.keys() != expected:
        raise ValueError(f"choices: expected an answer for each of {', '.join(sorted(expected))} and no other")
    places = len(trial.options)
    if any(choice is not None and not 0 <= choice < places for choice in vote.choices.values()):
        raise ValueError(f"choices: expected places from 0 to {places - 1}, or null for no difference")


def one_line(error: ValidationError, whole: str) -> str:
    """The first thing wrong, where it is, and nothing of what was sent."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))[:100] or whole
    return f"{where}: {' '.join(str(first['msg']).removeprefix('Value error, ').split())[:200]}"
