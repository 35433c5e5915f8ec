"""Captions from a server that speaks OpenAI's chat API (vLLM, llama.cpp, Ollama, a hosted one)."""

import base64
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import SecretStr

from diffsensei.config.schema import CaptionerConfig
from diffsensei.data.annotation.captioner import Answer, judged
from diffsensei.data.download.addresses import is_loopback
from diffsensei.data.images import Gray, encode_png

MAX_ATTEMPTS = 6
BACKOFF_S = 1.0
MAX_WAIT_S = 60.0
"""Longest pause before another try, whatever ``Retry-After`` asks for."""
TIMEOUT_S = 300.0
"""Of a request; a large model on a busy server takes its time."""
MAX_BODY_BYTES = 1 << 20
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_HOPELESS = frozenset({401, 403, 404})


class ServerCaptioner:
    """A `Captioner`; ``CaptionerConfig.batch_size`` requests are in flight. Use as a context manager.

    The API key goes into one header of requests to one server, and nowhere else. Raises ValueError (one line) for a
    server that is neither https nor on this machine.
    """

    batch_size = 1

    def __init__(self, config: CaptionerConfig, api_key: SecretStr | None = None) -> None:
        self._config = config
        self._url = f"{check_server(config.server)}/chat/completions"
        headers = {"authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}
        limits = httpx.Limits(max_connections=config.batch_size)
        self._client = httpx.Client(
            headers=headers, timeout=TIMEOUT_S, limits=limits, follow_redirects=False, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def answer(self, batches: Sequence[Sequence[Gray]]) -> Iterator[tuple[int, list[Answer]]]:
        """See `Captioner`; as answers come.

        Raises ValueError when the server lets nobody in, or gives no answer after `MAX_ATTEMPTS` tries.
        """
        threads = ThreadPoolExecutor(self._config.batch_size)
        try:
            futures = {threads.submit(self._ask_all, crops): number for number, crops in enumerate(batches)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

    def _ask_all(self, crops: Sequence[Gray]) -> list[Answer]:
        return [self._ask(crop) for crop in crops]

    def _ask(self, crop: Gray) -> Answer:
        began = time.monotonic()
        body = self._body(crop)
        fault = ""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            wait_s = min(BACKOFF_S * 2 ** (attempt - 1), MAX_WAIT_S)
            try:
                status, headers, content = self._send(body)
            except httpx.TransportError as error:
                fault = type(error).__name__
            else:
                if status == 200:
                    return _read(content, time.monotonic() - began)
                fault = f"status {status}"
                if status in _HOPELESS:
                    raise ValueError(
                        f"data.annotation.captioner.server: {self._url} answers {fault} to model "
                        f"{self._config.model!r}; check both, and DIFFSENSEI_CAPTION_API_KEY if a key is wanted"
                    )
                if status not in _AGAIN:
                    return Answer(reason=f"http_{status}", seconds=time.monotonic() - began)
                wait_s = _retry_after(headers, wait_s)
            if attempt < MAX_ATTEMPTS:
                time.sleep(wait_s)
        raise ValueError(
            f"data.annotation.captioner.server: {self._url} gave no answer in {MAX_ATTEMPTS} tries ({fault}); "
            "start it and run again, the captions it gave are kept"
        )

    def _send(self, body: bytes) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body; at most `MAX_BODY_BYTES` are read, and no longer than `TIMEOUT_S` in all."""
        deadline = time.monotonic() + TIMEOUT_S
        content = bytearray()
        json_type = {"content-type": "application/json"}
        with self._client.stream("POST", self._url, content=body, headers=json_type) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MAX_BODY_BYTES:
                    return response.status_code, response.headers, b""
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the body takes too long")
            return response.status_code, response.headers, bytes(content)

    def _body(self, crop: Gray) -> bytes:
        picture = f"data:image/png;base64,{base64.b64encode(encode_png(crop)).decode()}"
        content = [
            {"type": "image_url", "image_url": {"url": picture}},
            {"type": "text", "text": self._config.prompt},
        ]
        request = {
            "model": self._config.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self._config.max_new_tokens,
            "temperature": 0,
        }
        return json.dumps(request).encode()


def check_server(server: str) -> str:
    """``server`` without a trailing slash. Raises ValueError unless it is https, or http on this machine."""
    try:
        url = httpx.URL(server)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if not url.host or url.userinfo or url.query or url.fragment or url.scheme not in ("http", "https"):
        raise ValueError(
            f"data.annotation.captioner.server: expected a base url such as http://127.0.0.1:8000/v1, got {server!r}"
            if not url.userinfo
            else "data.annotation.captioner.server: expected a url without a password; set DIFFSENSEI_CAPTION_API_KEY"
        )
    if url.scheme == "http" and not is_loopback(url.host):
        raise ValueError(
            f"data.annotation.captioner.server: expected https, or http on this machine, got {server!r}; "
            "pages and key would travel unencrypted"
        )
    return server.rstrip("/")


def _retry_after(headers: httpx.Headers, default_s: float) -> float:
    """Seconds the server asks for, within [0, `MAX_WAIT_S`]; a date or nonsense counts as not asked."""
    try:
        asked = float(headers.get("retry-after", ""))
    except ValueError:
        return default_s
    return min(max(asked, 0.0), MAX_WAIT_S) if asked == asked else default_s


def _read(content: bytes, seconds: float) -> Answer:
    """The answer in a completion; anything that is not one is a failure with a reason."""
    try:
        reply: Any = json.loads(content)
        choice = reply["choices"][0]
        message = choice["message"]
        text, finish = message.get("content"), choice.get("finish_reason")
        usage = reply.get("usage") or {}
        tokens = usage.get("completion_tokens")
    except (ValueError, LookupError, TypeError, AttributeError):
        return Answer(reason="bad_answer", seconds=seconds)
    tokens = tokens if isinstance(tokens, int) and 0 <= tokens < 1 << 31 else None
    if message.get("refusal") or finish == "content_filter":
        return Answer(reason="refused", tokens=tokens, seconds=seconds)
    if text is not None and not isinstance(text, str):
        return Answer(reason="bad_answer", tokens=tokens, seconds=seconds)
    return judged(text or "", tokens=tokens, truncated=finish == "length", seconds=seconds)
