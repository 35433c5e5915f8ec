"""What captions panels: something that is shown crops and answers with text, or with a reason why there is none."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from diffsensei.data.images import Gray
from diffsensei.data.tables import CONTROL

MAX_CAPTION_CHARACTERS = 4000
"""No panel needs more; what is longer is a model that ran away."""


class Answer(BaseModel):
    """A caption, or an empty one with a ``reason`` (``empty``, ``refused``, ``too_long``, ``http_400``...)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    caption: str = ""
    reason: str = ""
    tokens: int | None = None
    """Length of the answer by the model's own count; None where it does not tell."""
    truncated: bool = False
    """It was cut at ``max_new_tokens``."""
    seconds: float = 0.0
    """Of its batch, shared among its panels; or of its request."""


class Captioner(Protocol):
    batch_size: int
    """Crops that belong together in a batch."""

    def answer(self, batches: Sequence[Sequence[Gray]]) -> Iterator[tuple[int, list[Answer]]]:
        """For every batch of grey crops (H, W), in any order: its number and an answer for each of its crops."""


def judged(text: str, *, tokens: int | None, truncated: bool, seconds: float) -> Answer:
    """The answer that ``text`` is: on one line, without control characters; never filled in."""
    caption = " ".join(CONTROL.sub(" ", text).split())
    reason = "" if caption else "empty"
    if len(caption) > MAX_CAPTION_CHARACTERS:
        caption, reason = "", "too_long"
    return Answer(caption=caption, reason=reason, tokens=tokens, truncated=truncated, seconds=seconds)
