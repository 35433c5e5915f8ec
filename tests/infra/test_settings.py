import platform
from pathlib import Path

import pytest

from infra.settings import Settings, quiet_environment


def test_the_store_is_beside_the_caller_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIFFSENSEI_STORE", raising=False)
    assert Settings().store == Path(".diffsensei")
    monkeypatch.setenv("DIFFSENSEI_STORE", "/data/store")
    assert Settings().store == Path("/data/store")


def test_a_key_is_read_from_the_environment_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIFFSENSEI_CAPTION_API_KEY", raising=False)
    assert Settings().caption_api_key is None
    monkeypatch.setenv("DIFFSENSEI_CAPTION_API_KEY", "secret")
    key = Settings().caption_api_key
    assert key is not None
    assert key.get_secret_value() == "secret"
    assert "secret" not in f"{Settings()!r} {Settings()} {Settings().model_dump_json()}"


def test_limiters_are_the_users_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIFFSENSEI_LIMITS", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert Settings().limits == Path("/state/diffsensei/limits") / platform.node()
    monkeypatch.setenv("XDG_STATE_HOME", "relative, so void")
    monkeypatch.setenv("HOME", "/home/me")
    assert Settings().limits == Path("/home/me/.local/state/diffsensei/limits") / platform.node()
    monkeypatch.setenv("DIFFSENSEI_LIMITS", "/shared/limits")
    assert Settings().limits == Path("/shared/limits")


def test_children_are_quiet_and_offline_only_when_asked() -> None:
    quiet = quiet_environment()
    assert quiet["DO_NOT_TRACK"] == "1"
    assert quiet["GX_ANALYTICS_ENABLED"] == quiet["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert quiet["TOKENIZERS_PARALLELISM"] == "false"
    assert "HF_HUB_OFFLINE" not in quiet
    assert quiet_environment(offline=True) == quiet | {"HF_HUB_OFFLINE": "1"}
