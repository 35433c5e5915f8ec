"""The site in a real browser, from file://, at two widths: no errors, no requests, working controls."""

from pathlib import Path

import pytest

from reports.site import PAGES, build_report

pytestmark = pytest.mark.slow


@pytest.fixture
def visit(browser, site: Path):
    """``visit(page, width)`` -> an open tab that fails the test on any error or outside request."""
    troubles: list[str] = []
    tabs = []

    def open_tab(name: str, width: int = 1280, **options: object):
        tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
        tabs.append(tab)
        tab.on(
            "console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None
        )
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
        tab.on("request", lambda r: None if r.url.startswith(site.as_uri()) else troubles.append(f"outside: {r.url}"))
        tab.goto(f"{site.as_uri()}/{name}")
        return tab

    yield open_tab
    for tab in tabs:
        tab.close()
    assert troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_their_width_and_show_every_picture(visit, width, scheme):
    for name, _ in PAGES:
        tab = visit(name, width, color_scheme=scheme)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
        tab.evaluate(
            """Promise.all(Array.from(document.images, image => { image.loading = 'eager'; return image.decode() }))"""
        )
        assert tab.evaluate("Array.from(document.images).every(image => image.naturalWidth > 0)"), name


def test_boxes_can_be_hidden_by_button_and_by_key(visit):
    tab = visit("panels.html")
    overlay, button = tab.locator(".overlay").first, tab.get_by_role("button", name="Boxes")
    assert overlay.is_visible()
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert not overlay.is_visible()
    assert button.get_attribute("aria-pressed") == "false"
    tab.keyboard.press("b")
    assert overlay.is_visible()


def test_boxes_lie_on_the_pixels_they_name(visit):
    """A requested dialog spans 0.55 to 0.95 of its panel's width, wherever and however large it is shown."""
    tab = visit("panels.html", 390)
    figure = tab.locator("#panel-1 .versions .picture").first
    picture = figure.locator("img").bounding_box()
    dialog = figure.locator("rect.box.dialog").bounding_box()
    assert abs((dialog["x"] - picture["x"]) / picture["width"] - 0.55) < 0.03
    assert abs((dialog["x"] + dialog["width"] - picture["x"]) / picture["width"] - 0.95) < 0.03


def test_series_can_be_chosen(visit):
    tab = visit("panels.html")
    tab.get_by_label("Series").select_option("night-harbour")
    shown = tab.locator(".card:visible")
    assert shown.count() == 4
    assert tab.locator("[data-count]").inner_text() == "4"
    assert {shown.nth(i).get_attribute("data-series") for i in range(4)} == {"night-harbour"}


def test_keys_step_through_panels_but_not_while_choosing(visit):
    tab = visit("panels.html")
    tab.keyboard.press("j")
    assert tab.evaluate("document.activeElement.id") == "panel-0"
    tab.keyboard.press("j")
    assert tab.evaluate("document.activeElement.id") == "panel-1"
    tab.keyboard.press("k")
    assert tab.evaluate("document.activeElement.id") == "panel-0"
    tab.get_by_label("Series").focus()
    tab.keyboard.press("b")
    assert tab.locator(".overlay").first.is_visible()


def test_keyboard_reaches_navigation_and_main_content(visit):
    tab = visit("index.html")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.getAttribute('aria-current')") == "page"


def test_hostile_texts_do_not_run(browser, make_run):
    evil = "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
    run = make_run(caption=evil, series=evil, character=evil, reason=evil)
    build_report(**run.arguments)
    for name, _ in PAGES:
        tab = browser.new_page()
        tab.goto(f"{run.arguments['output'].as_uri()}/{name}")
        assert tab.evaluate("window.pwned === undefined"), name
        tab.close()


def test_only_the_pages_own_script_may_run(visit, site: Path, browser):
    """The policy itself, apart from escaping: an inline script written into the page stays silent."""
    page = site / "index.html"
    (site / "tampered.html").write_text(page.read_text().replace("</main>", "<script>window.pwned=1</script></main>"))
    tab = browser.new_page()
    tab.goto(f"{site.as_uri()}/tampered.html")
    assert tab.evaluate("window.pwned === undefined")
    tab.close()
