"""Answers already given: one line each in an append-only file, by what was asked.

A key stands for the crop's pixels, the model, the prompt and the limits, so a changed prompt finds nothing stale.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from diffsensei.data.annotation.captioner import Answer


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    answer: Answer


class CaptionJournal:
    """An append-only file of answers by key. Use as a context manager; one writer at a time (the stage's claim)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._file = self._path.open("ab+")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self) -> dict[str, Answer]:
        """The first answer to each key. Lines that were torn or damaged count as never written."""
        self._file.seek(0)
        content = self._file.read()
        if content and not content.endswith(b"\n"):
            self._file.write(b"\n")
        answers: dict[str, Answer] = {}
        for text in content.splitlines():
            try:
                line = _Line.model_validate_json(text)
            except ValidationError:
                continue
            answers.setdefault(line.key, line.answer)
        return answers

    def append(self, answers: Mapping[str, Answer]) -> None:
        """Add a batch; on return it survives a power cut (a caption takes seconds, this takes milliseconds)."""
        lines = [_Line(key=key, answer=answer).model_dump_json() for key, answer in answers.items()]
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
