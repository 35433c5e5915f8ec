"""The halves of double pages: what became of each url that the annotations name."""

from pathlib import Path
from typing import Self

import pandas as pd
from pydantic import BaseModel, ConfigDict

from diffsensei.data.refusal import Refusal, State


class Half(BaseModel):
    """The fate of one url: half a double page. Sizes in pixels; empty strings and zeros where nothing is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    state: State
    sha256: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""
    evidence: str = ""
    transient: bool = False
    """The fault may pass: a rerun tries this url again."""

    @classmethod
    def refused(cls, url: str, refusal: Refusal, sha256: str = "") -> Self:
        """The record of a refusal; ``sha256`` names the kept bytes, if any came."""
        return cls(
            url=url,
            state=refusal.state,
            sha256=sha256,
            reason=refusal.reason,
            evidence=refusal.evidence,
            transient=refusal.transient,
        )


def write_halves(records: list[Half], path: Path) -> None:
    """One row per url, columns as in `Half` without ``transient``."""
    columns = [name for name in Half.model_fields if name != "transient"]
    pd.DataFrame([record.model_dump() for record in records], columns=columns).to_parquet(path, index=False)


def read_halves(path: Path) -> dict[str, Half]:
    """The rows of `write_halves` by url."""
    return {row["url"]: Half(**row) for row in pd.read_parquet(path).to_dict("records")}
