"""What the machine decides, not the experiment: where the store is, and how quiet the libraries must be."""

import os
import platform
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment (``DIFFSENSEI_STORE=...``). None of it enters a stage key."""

    model_config = SettingsConfigDict(env_prefix="DIFFSENSEI_", frozen=True, use_attribute_docstrings=True)

    store: Path = Path(".diffsensei")
    """Folder of the artifact store; relative to the current folder."""
    caption_api_key: SecretStr | None = None
    """Key of the server that captions panels; it is read where the request is made, and stored nowhere."""

    limits: Path = Field(default_factory=lambda: _user_state() / "diffsensei" / "limits" / platform.node())
    """Folder of the limiters that all downloads of this user on this machine share; machines may share a home."""


def _user_state() -> Path:
    """Where programs keep what is neither configuration nor cache (XDG base directories)."""
    named = os.environ.get("XDG_STATE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path.home() / ".local" / "state"


def quiet_environment(offline: bool = False) -> dict[str, str]:
    """Variables for child processes: no telemetry, no fork warnings; with ``offline`` no model hub either."""
    variables = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return variables | {"HF_HUB_OFFLINE": "1"} if offline else variables
