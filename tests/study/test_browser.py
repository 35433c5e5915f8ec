"""A scripted rater in a real browser: the same page from the server and from a file, on a desk and on a phone."""

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from diffsensei.study.importing import import_votes
from diffsensei.study.ledger import open_ledger, read_votes
from diffsensei.study.offline import write_offline_packets
from diffsensei.study.packets import read_key, read_tokens
from diffsensei.study.server import build_app

pytestmark = pytest.mark.slow
TRIALS = 6
ANSWERS = "12010"
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def study(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "study"))


@pytest.fixture
def address(study: Path) -> Iterator[str]:
    with open_ledger(study) as ledger, socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(build_app(study, ledger, origin), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        yield origin
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """An empty tab; fails the test on any error in a page, but for answers that the page itself shows."""
    troubles: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    opened.on(
        "console",
        lambda line: troubles.append(line.text) if line.type == "error" and "status of 40" not in line.text else None,
    )
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    yield opened
    context.close()
    assert troubles == []


def answer_by_keys(tab: Any) -> None:
    count = tab.locator("#count").inner_text()
    for key in ANSWERS:
        tab.keyboard.press(key)
    tab.wait_for_function("() => !document.getElementById('send').disabled")
    tab.keyboard.press("Enter")
    tab.wait_for_function("before => document.getElementById('count').textContent !== before", arg=count)


def test_a_rater_goes_through_the_served_study(tab: Any, address: str, study: Path) -> None:
    token = read_tokens(study)[read_key(study).raters[0].packet]
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(f"{address}/#{token}")
    tab.get_by_role("button", name="I agree, start").click()
    assert token not in tab.url, "the address bar does not keep the token"
    assert tab.evaluate("document.cookie") == "", "nor can scripts read the session"
    answer_by_keys(tab)
    tab.goto(address)
    tab.get_by_role("button", name="Go on where I stopped").click()
    assert tab.locator("#count").inner_text() == f"Set 2 of {TRIALS}"
    for _ in range(TRIALS - 1):
        answer_by_keys(tab)
    tab.get_by_role("heading", name="Thank you!").wait_for()
    votes = read_votes(study)
    assert len(votes) == TRIALS
    assert [list(stored.vote.choices.values()) for stored in votes] == [[0, 1, None, 0, None]] * TRIALS
    assert tab.evaluate("window.pwned === undefined"), "captions are text"
    assert all(url.startswith((address, "data:")) for url in asked)


def test_wrong_links_and_lost_connections_are_said(tab: Any, address: str, study: Path) -> None:
    tab.goto(f"{address}/#{'0' * 48}")
    tab.get_by_text("This link is not valid").wait_for()
    tab.goto("about:blank")
    tab.goto(address)
    tab.get_by_text("opens with the link that you were sent").wait_for()


def test_a_rater_goes_through_a_file(tab: Any, study: Path, tmp_path: Path) -> None:
    paths = write_offline_packets(study=study, output=tmp_path / "send")
    assert len(paths) == len(read_key(study).raters)
    text = paths[1].read_text()
    assert "http:" not in text
    assert "https:" not in text
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(paths[1].as_uri())
    tab.get_by_role("button", name="I agree, start").click()
    answer_by_keys(tab)
    tab.reload()
    tab.get_by_role("button", name="Go on where I stopped").click()
    for _ in range(TRIALS - 1):
        answer_by_keys(tab)
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download my answers").click()
    file = tmp_path / "answers.json"
    download.value.save_as(file)
    (report,) = import_votes(study=study, files=[file])
    assert (report.added, report.refused) == (TRIALS, "")
    assert json.loads(file.read_text())["packet"] == read_key(study).raters[1].packet
    assert tab.evaluate("window.pwned === undefined")
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)


def test_it_works_by_touch_on_a_phone(tab: Any, study: Path, tmp_path: Path) -> None:
    tab.set_viewport_size(PHONE)
    path, *_ = write_offline_packets(study=study, output=tmp_path / "send")
    tab.goto(path.as_uri())
    tab.get_by_role("button", name="I agree, start").click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for box in (target.bounding_box() for target in tab.locator("#questions label, #send, summary").all()):
        assert box["height"] >= 44
        assert box["width"] >= 44
    tab.get_by_role("button", name="Enlarge page A").click()
    tab.get_by_alt_text("Page A, enlarged").wait_for()
    tab.get_by_role("button", name="Page B", exact=True).click()
    tab.get_by_alt_text("Page B, enlarged").wait_for()
    tab.get_by_role("button", name="Close").click()
    assert tab.get_by_role("button", name="Save and go on").is_disabled()
    for row in tab.locator("#questions fieldset").all():
        row.get_by_role("radio", name="B", exact=True).check()
    tab.get_by_role("button", name="Save and go on").click()
    tab.get_by_text(f"Set 2 of {TRIALS}").wait_for()
