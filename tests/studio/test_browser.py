"""The studio in a real browser: from an image to a drawn page, by mouse and by keyboard, asking nobody else."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from diffsensei.studio.exchange import Drawer
from diffsensei.studio.server import build_app

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(drawer: Drawer) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(build_app(drawer), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    """The studio, opened; fails the test on any error in the page or request to elsewhere."""
    troubles: list[str] = []
    opened = browser.new_page(viewport={"width": 1400, "height": 950})
    opened.set_default_timeout(60_000)
    # Chromium itself reports an answer of 400, which the page shows.
    told = ("error", "warning")
    opened.on(
        "console", lambda line: troubles.append(line.text) if line.type in told and "400" not in line.text else None
    )
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    local = (address, "data:", "blob:")
    opened.on("request", lambda r: None if r.url.startswith(local) else troubles.append(f"outside: {r.url}"))
    opened.goto(address)
    opened.locator("#sheet .box.panel").first.wait_for()
    yield opened
    opened.close()
    assert troubles == []


def saved_story(tab: Any) -> dict[str, Any]:
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Save story").click()
    story: dict[str, Any] = json.loads(Path(download.value.path()).read_text())
    return story


def test_from_an_image_to_a_page(tab: Any, portrait: Path) -> None:
    tab.locator("#add-images").set_input_files(portrait)
    tab.get_by_label("Caption").fill("a girl in the rain")
    tab.locator("#add-character").select_option("Mika")
    tab.locator(".box.character").wait_for()
    tab.get_by_role("button", name="Add dialog").click()
    tab.get_by_label("text of dialog 1").fill("Rain!")
    tab.get_by_label("Width", exact=True).fill("300")
    tab.get_by_label("Height", exact=True).fill("400")
    tab.get_by_label("Steps").fill("1")
    tab.get_by_role("button", name="Draw", exact=True).click()
    picture = tab.get_by_alt_text("drawn page 1")
    picture.wait_for()
    decoded = "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"
    assert picture.evaluate(decoded) == [300, 400]
    assert tab.locator("#warnings li").count() == 0
    panel = saved_story(tab)["pages"][0]["panels"][0]
    assert panel["caption"] == "a girl in the rain"
    assert (panel["characters"], panel["dialogs"]) == ([{"name": "Mika"}], [{"text": "Rain!"}])


def test_boxes_follow_the_mouse_the_keys_and_the_numbers(tab: Any, portrait: Path) -> None:
    tab.locator("#add-images").set_input_files(portrait)
    tab.locator("#add-character").select_option("Mika")
    box = tab.locator(".box.character")
    before = box.bounding_box()
    panel = tab.locator(".box.panel").bounding_box()
    x, y = before["x"] + before["width"] / 2, before["y"] + before["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 500, y - 40, steps=4)
    with tab.expect_response("**/place"):
        tab.mouse.up()
    after = tab.locator(".box.character.chosen").bounding_box()
    assert abs(after["x"] - panel["x"]) < 4, "it stops at the panel's edge"
    assert abs(after["y"] - before["y"] + 40) < 2
    left = (after["x"] - panel["x"]) / panel["width"]
    assert abs(float(tab.get_by_role("spinbutton", name="left").input_value()) - left) < 0.02

    tab.get_by_role("spinbutton", name="left").fill("0.1")
    tab.get_by_role("spinbutton", name="left").press("Tab")
    tab.wait_for_function("() => document.querySelector('.box.character').style.left === '10%'")
    tab.locator(".box.character").focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("() => document.querySelector('.box.character').style.left === '11%'")
    assert saved_story(tab)["pages"][0]["panels"][0]["characters"][0]["box"][0] == 0.11

    tab.get_by_role("button", name="Place it automatically").click()
    tab.wait_for_function("() => document.querySelector('.box.character').style.left !== '11%'")
    assert "box" not in saved_story(tab)["pages"][0]["panels"][0]["characters"][0]


def test_panels_are_laid_out_and_may_be_moved(tab: Any) -> None:
    for count in (2, 3, 4):
        tab.get_by_role("button", name="Add panel").click()
        tab.wait_for_function(f"() => document.querySelectorAll('.box.panel').length === {count}")
    assert all("box" not in panel for panel in saved_story(tab)["pages"][0]["panels"])
    tab.locator(".box.panel").first.focus()
    tab.keyboard.press("ArrowDown")
    panels = saved_story(tab)["pages"][0]["panels"]
    assert all(len(panel["box"]) == 4 for panel in panels), "a page's panels have boxes all or none"
    tab.get_by_role("button", name="Lay the page out again").click()
    tab.wait_for_function("() => document.querySelectorAll('.box.panel').length === 4")
    assert all("box" not in panel for panel in saved_story(tab)["pages"][0]["panels"])


def test_what_is_wrong_is_said(tab: Any) -> None:
    tab.get_by_label("Steps").fill("0")
    with tab.expect_response("**/draw") as answer:
        tab.get_by_role("button", name="Draw", exact=True).click()
    assert answer.value.status == 400
    tab.locator("#state.wrong").wait_for()
    assert tab.locator("#state").inner_text() == "steps: Input should be greater than or equal to 1"


def test_the_example_opens_and_hostile_texts_do_not_run(tab: Any, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "rainy-day"
    story = json.loads((example / "story.json").read_text())
    evil = "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script>"
    story["pages"][0]["panels"][1]["dialogs"][0]["text"] = evil
    (tmp_path / "story.json").write_text(json.dumps(story))
    tab.locator("#open").set_input_files(tmp_path / "story.json")
    tab.locator(".box.dialog", has_text="window.pwned").wait_for()
    tab.locator("#add-images").set_input_files(sorted((example / "cast").iterdir()))
    tab.wait_for_function("() => document.querySelectorAll('#cast img').length === 3")
    assert sorted(saved_story(tab)["characters"]) == ["aunt", "mika", "ren"]
    assert tab.evaluate("window.pwned === undefined")
    tab.get_by_role("button", name="Page 2").click()
    tab.wait_for_function("() => document.querySelectorAll('.box.panel').length === 4")


@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_fits_its_width(tab: Any, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 900})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
