"""What every configuration value is: frozen, closed, documented under each field, comparable by digest."""

import hashlib
import json
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

Rate = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegativeInt = Annotated[int, Field(ge=0)]


class Config(BaseModel):
    """A frozen value. A misspelt field is an error; the string under a field is its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def replaced(self, **changes: Any) -> Self:
        """A copy with fields changed, validated again (unlike ``model_copy``)."""
        return type(self).model_validate(self.model_dump() | changes)


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value that digests are taken of: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def config_digest(config: BaseModel) -> str:
    """sha256 (64 hex digits) of the configuration's canonical JSON."""
    return hashlib.sha256(canonical_json(config.model_dump(mode="json")).encode()).hexdigest()
