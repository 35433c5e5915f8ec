"""Captions over OpenAI's chat API: what is sent, what is read, and what is not believed."""

import numpy as np
import pytest
from pydantic import SecretStr

from diffsensei.config.presets import tiny
from diffsensei.config.schema import CaptionerConfig
from diffsensei.data.annotation import chat_server
from diffsensei.data.annotation.captioner import Answer
from diffsensei.data.annotation.chat_server import ServerCaptioner, check_server
from tests.data.annotation.tiny_chat_server import Reply, completion, serve_chat

CROP = np.arange(48, dtype=np.uint8).reshape(6, 8)
ASK: CaptionerConfig = tiny().data.annotation.captioner.replaced(backend="openai", model="seer", batch_size=2)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_server, "BACKOFF_S", 0.001)
    monkeypatch.setattr(chat_server, "MAX_WAIT_S", 0.05)


def ask(*script: Reply, crops: int = 1, key: str | None = None) -> tuple[list[Answer], list[dict], list[str | None]]:  # type: ignore[type-arg]
    with serve_chat(*script) as log:
        config = ASK.replaced(server=log.url)
        with ServerCaptioner(config, SecretStr(key) if key else None) as captioner:
            answered = dict(captioner.answer([[CROP + place] for place in range(crops)]))
    return [answered[number][0] for number in range(crops)], log.requests, log.keys


def test_the_question_holds_picture_prompt_and_limit_and_the_key_is_a_header() -> None:
    (answer,), (request,), keys = ask(key="secret")
    assert answer.caption.startswith("A panel, called ")
    assert (answer.tokens, answer.truncated, answer.reason) == (4, False, "")
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("seer", 128, 0)
    assert request["messages"][0]["content"][1] == {"type": "text", "text": ASK.prompt}
    assert keys == ["Bearer secret"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (completion("   "), "empty"),
        (completion(None), "empty"),
        (completion("no", refusal="I cannot"), "refused"),
        (completion("half", "content_filter"), "refused"),
        (completion("x" * 5000), "too_long"),
        ((200, {}, b"<html>"), "bad_answer"),
        ((200, {}, {"choices": []}), "bad_answer"),
        ((200, {}, {"choices": [{"message": "text"}]}), "bad_answer"),
        ((200, {}, {"choices": [{"message": {"content": [{"text": "a"}]}}]}), "bad_answer"),
        ((200, {}, b" " * (1 << 21)), "bad_answer"),
        ((400, {}, {"error": "the picture"}), "http_400"),
        ((302, {"location": "http://127.0.0.1:1/"}, b""), "http_302"),
    ],
)
def test_what_is_no_caption_is_a_failure_with_a_reason(reply: Reply, reason: str) -> None:
    (answer,), requests, _ = ask(reply)
    assert (answer.caption, answer.reason, len(requests)) == ("", reason, 1)


def test_a_cut_caption_is_marked() -> None:
    (answer,), _, _ = ask(completion("A girl who", "length"))
    assert (answer.caption, answer.truncated) == ("A girl who", True)


def test_control_characters_do_not_reach_the_caption() -> None:
    (answer,), _, _ = ask(completion("A\x1b[31m girl\r\n\truns\x00"))
    assert answer.caption == "A [31m girl runs"


def test_a_busy_server_is_asked_again_and_its_wish_is_clamped() -> None:
    (answer,), requests, _ = ask((429, {"retry-after": "86400"}, b""), (503, {"retry-after": "nan"}, b""))
    assert answer.reason == ""
    assert len(requests) == 3


def test_answers_belong_to_their_pictures_whatever_the_order() -> None:
    answers, _, _ = ask(crops=9)
    assert len({answer.caption for answer in answers}) == 9
    again, _, _ = ask(crops=9)
    assert [answer.caption for answer in again] == [answer.caption for answer in answers]


def test_a_server_that_lets_nobody_in_ends_the_run_and_the_key_is_not_told() -> None:
    with pytest.raises(
        ValueError, match=r"status 401 to model 'seer'; check both, and DIFFSENSEI_CAPTION_API_KEY"
    ) as error:
        ask((401, {}, b"wrong key: secret"), key="secret")
    assert "secret" not in str(error.value)


def test_a_silent_server_ends_the_run_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_server, "MAX_ATTEMPTS", 2)
    with (
        ServerCaptioner(ASK.replaced(server="http://127.0.0.1:9")) as captioner,
        pytest.raises(ValueError, match=r"gave no answer in 2 tries \(ConnectError\); start it and run again"),
    ):
        list(captioner.answer([[CROP]]))


@pytest.mark.parametrize(
    "server", ["https://api.example.org/v1/", "http://127.0.0.1:1/v1", "http://[::1]:8000", "http://localhost/v1"]
)
def test_https_or_this_machine(server: str) -> None:
    assert check_server(server) == server.rstrip("/")


@pytest.mark.parametrize(
    "server",
    [
        "",
        "api.example.org",
        "http://api.example.org/v1",
        "http://10.0.0.1/v1",
        "http://127.0.0.1.evil.org",
        "ftp://a/b",
        "https://me:word@example.org/v1",
        "https://a.org/v1?key=word",
        "http://[::1",
    ],
)
def test_anything_else_is_refused_without_repeating_a_password(server: str) -> None:
    with pytest.raises(ValueError, match=r"^data\.annotation\.captioner\.server: expected") as error:
        check_server(server)
    assert "me:word" not in str(error.value)
