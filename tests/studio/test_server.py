"""The studio over HTTP: places, drawings, one-line errors, and who is not answered."""

import base64
import io
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from diffsensei.studio.exchange import Drawer
from diffsensei.studio.server import MAX_BODY_BYTES, build_app, serve

PANEL: dict[str, Any] = {"caption": "a girl", "characters": [{"name": "Mika"}], "dialogs": [{"text": "Rain!"}]}
STORY: dict[str, Any] = {
    "characters": {"Mika": "Mika.png"},
    "pages": [{"width": 120, "height": 160, "panels": [PANEL]}],
}


@pytest.fixture(scope="module")
def client(drawer: Drawer) -> TestClient:
    return TestClient(build_app(drawer), base_url="http://127.0.0.1:7860")


@pytest.fixture(scope="module")
def message(portrait: Path) -> dict[str, Any]:
    return {"story": STORY, "images": {"Mika": base64.b64encode(portrait.read_bytes()).decode()}, "steps": 1}


def test_a_story_is_drawn(client: TestClient, message: dict[str, Any]) -> None:
    answer = client.post("/draw", json=message)
    assert answer.status_code == 200, answer.text
    (page,), warnings = answer.json()["pages"], answer.json()["warnings"]
    with Image.open(io.BytesIO(base64.b64decode(page))) as image:
        assert (image.size, image.mode) == ((120, 160), "L")
    assert warnings == []
    assert client.post("/draw", json=message).json() == answer.json()
    assert client.post("/draw", json=message | {"bubbles": True}).json() != answer.json()


def test_places_are_those_of_the_story(client: TestClient) -> None:
    (panels,) = client.post("/place", json={"story": STORY}).json()["pages"]
    assert panels[0]["box"][2] == pytest.approx(1 - 0.04)
    assert panels[0]["characters"][0][3] == 1.0
    assert len(panels[0]["dialogs"]) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 0}, "steps: Input should be greater than or equal to 1"),
        ({"images": {}}, "'Mika' has none; choose a file for it"),
        (
            {"images": {"Mika": base64.b64encode(b"text").decode()}},
            "characters.Mika: expected a character image at image-0",
        ),
        ({"story": STORY | {"pages": []}}, "story.pages: Tuple should have at least 1 item"),
        ({"story": {**STORY, "pages": [{"panels": [PANEL | {"characters": [{"name": "Mika"}] * 5}]}]}}, "at most 4"),
    ],
)
def test_what_is_wrong_is_one_line(client: TestClient, message: dict[str, Any], change: Any, said: str) -> None:
    answer = client.post("/draw", json=message | change)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert "/tmp" not in answer.json()["error"]


def test_what_is_no_json_is_one_line(client: TestClient) -> None:
    answer = client.post("/draw", content=b"{")
    assert (answer.status_code, answer.json()["error"][:13]) == (400, "message: Inva")


def test_other_sites_and_names_are_not_answered(client: TestClient) -> None:
    body = json.dumps({"story": STORY})
    assert client.post("/place", content=body, headers={"origin": "http://127.0.0.1:7860"}).status_code == 200
    for origin in ("http://evil.example", "http://127.0.0.1:1", "null"):
        assert client.post("/place", content=body, headers={"origin": origin}).status_code == 403
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_large_bodies_are_refused_with_and_without_a_length(client: TestClient) -> None:
    def parts() -> Any:
        for _ in range(MAX_BODY_BYTES // 2**20 + 1):
            yield b" " * 2**20

    assert client.post("/draw", content=parts()).status_code == 413
    assert client.post("/draw", content=b"", headers={"content-length": str(MAX_BODY_BYTES + 1)}).status_code == 413


def test_the_page_allows_itself_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http" not in answer.text.replace("http-equiv", "")
    for path in ("/studio.css", "/studio.js"):
        assert client.get(path).status_code == 200
    for path in ("/docs", "/openapi.json", "/../server.py"):
        assert client.get(path).status_code == 404


def test_a_taken_port_is_named(drawer: Drawer) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} cannot be used .*choose another with --port"):
            serve(drawer, port, print)
