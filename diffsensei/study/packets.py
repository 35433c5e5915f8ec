"""What a rater gets, and the key that says what it was.

``packets/<packet>/packet.json`` and ``packets/<packet>/images/<image>.png`` tell nothing of methods: names are random
to whoever lacks the key's secret. ``key/key.json`` unblinds them; ``key/invitations.csv`` holds each rater's personal
token, of which ``packets/invitations.json`` keeps only the digest.
"""

import csv
import hashlib
import hmac
import json
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, PositiveInt, ValidationError

from diffsensei.config.base import Config, config_digest
from diffsensei.config.schema import StudyConfig
from diffsensei.study.results import Aspect

NAME = r"^[0-9a-f]{24}$"
Kind = TypeVar("Kind", bound=Config)
Name = Annotated[str, Field(pattern=NAME)]


class Trial(Config):
    """One set of pages, judged at once."""

    trial: Name
    options: tuple[Name, ...]
    """Images of the pages, from left to right."""
    size: tuple[PositiveInt, PositiveInt]
    """(width, height) of each page, in pixels."""
    characters: tuple[Name, ...]
    """Images of the characters that were given."""
    descriptions: tuple[str, ...]
    """Of the panels, in reading order."""


class Packet(Config):
    """All that one rater judges, in order."""

    study: Name
    packet: Name
    aspects: tuple[Aspect, ...]
    consent: tuple[str, ...]
    """Paragraphs that a rater agrees to before the first set."""
    trials: tuple[Trial, ...]

    def images(self) -> set[str]:
        """Names of all its images."""
        return {name for trial in self.trials for name in (*trial.options, *trial.characters)}


class KeyTrial(Config):
    """What a trial was."""

    trial: Name
    kind: Literal["item", "repeat", "check"]
    page_id: str
    series: str
    methods: tuple[str, ...]
    """By place; of a check ``truth`` and ``ruin``."""


class KeyRater(Config):
    """What a packet was."""

    rater: str
    packet: Name
    digest: str
    """`config_digest` of its packet.json."""
    token_digest: str
    """`token_digest` of the rater's token."""
    trials: tuple[KeyTrial, ...]


class StudyKey(Config):
    """The unblinding of a whole study, and the rules it was prepared with."""

    study: Name
    seed: int
    secret: str
    """Hex; names and tokens are drawn from it."""
    config: StudyConfig
    methods: tuple[str, ...]
    aspects: tuple[Aspect, ...]
    raters: tuple[KeyRater, ...]


def token_digest(token: str) -> str:
    """sha256 (hex) of a token; tokens have 192 random bits, so that no slower digest is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def derived_name(secret: bytes, *parts: str | int) -> str:
    """24 hex digits that nobody without ``secret`` can tell from random ones."""
    return _derived(secret, parts)[:24]


def derived_token(secret: bytes, *parts: str | int) -> str:
    """48 hex digits, likewise."""
    return _derived(secret, ("token", *parts))[:48]


def _derived(secret: bytes, parts: tuple[str | int, ...]) -> str:
    return hmac.new(secret, json.dumps(parts).encode(), hashlib.sha256).hexdigest()


def packet_digest(packet: Packet) -> str:
    """Of everything a rater is shown, but for the images' bytes."""
    return config_digest(packet)


def read_packets(study: Path) -> dict[str, Packet]:
    """The packets of a prepared study, by their names. Raises ValueError where there are none."""
    folder = study / "packets"
    found = sorted(folder.glob("*/packet.json"))
    if not found:
        raise ValueError(f"{study} holds no study: no packets/*/packet.json; run `diffsensei study prepare`")
    packets = [_read(Packet, path) for path in found]
    return {packet.packet: packet for packet in packets}


def read_key(study: Path) -> StudyKey:
    """The key of a prepared study. Raises ValueError where it is missing: it may be kept elsewhere on purpose."""
    path = study / "key" / "key.json"
    if not path.is_file():
        raise ValueError(f"expected the study's key at {path}, found none; put the folder `key` back for this step")
    return _read(StudyKey, path)


def read_invitations(study: Path) -> dict[str, str]:
    """Digest of a token to the packet it opens."""
    path = study / "packets" / "invitations.json"
    if not path.is_file():
        raise ValueError(f"expected {path}, found none; run `diffsensei study prepare`")
    found: dict[str, str] = json.loads(path.read_text())
    return found


def read_tokens(study: Path) -> dict[str, str]:
    """Packet to its rater's token, as the organiser has them."""
    path = study / "key" / "invitations.csv"
    if not path.is_file():
        raise ValueError(f"expected the raters' tokens at {path}, found none; put the folder `key` back for this step")
    with path.open(newline="") as file:
        return {row["packet"]: row["token"] for row in csv.DictReader(file)}


def _read(kind: type[Kind], path: Path) -> Kind:
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path}: {error.errors()[0]['msg']}; prepare the study again") from error
