"""The site in a real browser, from file://, at two widths: no errors, no requests, working controls."""

from pathlib import Path

import pytest

from reports.site import PAGES, build_report

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_their_width_and_show_every_picture(visit, width, scheme):
    for name, _ in PAGES:
        tab = visit(name, width, color_scheme=scheme)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
        assert any(_shows_every_picture(tab) for _ in range(50)), name  # lists fill themselves: some come later


def _shows_every_picture(tab) -> bool:
    tab.wait_for_timeout(50)
    return tab.evaluate(
        """Array.from(document.images).every(image => { image.loading = 'eager'; return image.naturalWidth > 0 })"""
    )


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
