"""The whole site in a real browser, from file://: every page type, without errors, dead links, requests or barriers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pandas as pd
import pytest

from diffsensei.config import load_preset
from infra.store import Store
from reports.addresses import panel_address
from reports.site import PAGES, build_report
from tasks.report_site import publish_version
from tests.reports.conftest import build_rows, build_run, build_study

pytestmark = pytest.mark.slow
PAYLOADS = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "</script><script>window.pwned=1</script>",
    '"><svg onload=window.pwned=1>',
    "' onmouseover='window.pwned=1",
    "javascript:window.pwned=1",
    "</style><script>window.pwned=1</script>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'>",
    "{{ 7*7 }}{% raw %}",
    "</title><script>window.pwned=1</script>",
    "\u2028window.pwned=1//\u2029<!--<script>",
    "__proto__",
)
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two versions, the second with ablations, a study and other measurements."""
    base = tmp_path_factory.mktemp("versions")
    store = Store(base / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFSENSEI_STORE", str(store.base))
        run = build_run(base / "run")
        build_report(**run.arguments)
        release = run.arguments["config"].release
        publish_version(store, store.publish_object(Path(str(run.arguments["output"])), "report"), release)
        output = base / "second"
        output.mkdir()
        items = pd.read_parquet(run.arguments["score"] / "items.parquet")
        items.loc[(items["method"] == "diffsensei") & (items["metric"] == "dino_c"), "value"] -= 0.25
        items.to_parquet(run.arguments["score"] / "items.parquet")
        config = load_preset("tiny", ["training.stage2.steps=300", "release.version=0.2.0"])
        build_report(
            **(run.arguments | {"config": config, "output": output}),
            ablations=build_rows(run, base / "rows", failed="table_3_row_2"),
            study=build_study(base / "study"),
        )
        publish_version(store, store.publish_object(output, "report"), config.release)
    return store.base / "site"


@pytest.fixture
def pages(site: Path) -> list[str]:
    """An address of every page type, from the site's folder."""
    newest = next(folder for folder in (site / "v").iterdir() if "-0.2.0-" in folder.name)
    own = [*(name for name, _ in PAGES), panel_address("panel2"), "pages.html"]
    own += [f"series/{path.name}" for path in sorted((newest / "series").iterdir())[:1]]
    compared = [path.relative_to(site).as_posix() for path in (site / "compare").glob("*.html")]
    return ["index.html", *compared, *(f"v/{newest.name}/{name}" for name in own)]


@pytest.fixture
def visit(browser: Any, site: Path) -> Iterator[Callable[..., Any]]:
    """``visit(address, width)`` -> an open tab that fails the test on any error or outside request."""
    troubles: list[str] = []
    tabs = []

    def open_tab(address: str, width: int = 1280, **options: object) -> Any:
        tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
        tab.set_default_timeout(90_000)  # of a machine with much else to do
        tabs.append(tab)
        tab.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
        tab.on("request", lambda r: None if r.url.startswith(site.as_uri()) else troubles.append(f"outside: {r.url}"))
        tab.goto(f"{site.as_uri()}/{address}")
        tab.wait_for_load_state("networkidle")
        return tab

    yield open_tab
    for tab in tabs:
        tab.close()
    assert troubles == []


def test_no_page_has_an_error_a_dead_link_or_a_request_outside(visit: Any, pages: list[str], site: Path) -> None:
    drawn: dict[str, set[str]] = {}
    for address in pages:
        tab = visit(address)
        links = tab.evaluate("Array.from(document.querySelectorAll('a[href]'), link => link.href)")
        assert links, address
        for link in links:
            target, fragment = urldefrag(link)
            path = Path(unquote(target.removeprefix("file://")))
            assert path.is_relative_to(site), (address, link)
            assert path.is_file(), (address, link)
            if fragment and path.name not in ("panel.html", "panels.html", "extremes.html", "pages.html"):
                if target not in drawn:
                    page = visit(path.relative_to(site).as_posix())
                    drawn[target] = set(
                        page.evaluate("Array.from(document.querySelectorAll('[id]'), place => place.id)")
                    )
                assert unquote(fragment) in drawn[target], (address, link)


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_its_window(visit: Any, pages: list[str], width: int) -> None:
    for address in pages:
        assert visit(address, width).evaluate("document.documentElement.scrollWidth") <= width, address


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_barrier(visit: Any, pages: list[str], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = {}
    for address in pages:
        tab = visit(address, color_scheme=scheme)
        # What is folded away is looked at, too.
        tab.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true })")
        result = axe.run(tab).response["violations"]
        serious = [(v["id"], v["nodes"][0]["html"][:160]) for v in result if v["impact"] in SERIOUS]
        if serious:
            found[address] = serious
    assert found == {}


def test_a_version_says_what_differs_from_the_one_before(visit: Any, pages: list[str]) -> None:
    tab = visit(next(address for address in pages if address.endswith("0/index.html") or "/index.html" in address))
    changed = tab.locator("[data-difference='main/diffsensei/dino_c']").last
    assert changed.inner_text() == "≈ \N{MINUS SIGN}0.250"
    assert tab.locator("[data-difference='main/sdxl_t2i/clip']").inner_text() == "same as before"
    tab.get_by_role("link", name="All differences").first.click()
    assert "/compare/" in tab.url
    assert tab.get_by_role("heading", name="What changed").is_visible()
    tab.get_by_role("link", name="All versions").click()
    assert tab.url.endswith("/site/index.html")


def test_an_older_version_leads_to_the_newest(visit: Any, site: Path) -> None:
    older = next(folder.name for folder in (site / "v").iterdir() if "-0.1.0-" in folder.name)
    tab = visit(f"v/{older}/data.html")
    status = tab.get_by_role("complementary", name="State of this version")
    assert "Not the newest" in status.inner_text()
    status.get_by_role("link").click()
    assert "-0.2.0-" in tab.url


def test_figures_whose_stages_the_store_no_longer_holds_are_marked(visit: Any, pages: list[str]) -> None:
    """Nothing of the made-up run is in the store: the plan would make it all."""
    index = next(address for address in pages if address.startswith("v/") and address.endswith("/index.html"))
    tab = visit(index)
    assert "Stale" in tab.get_by_role("complementary", name="State of this version").inner_text()
    row = tab.get_by_role("row").filter(has=tab.get_by_role("rowheader", name="SDXL text-to-image")).first
    assert row.locator(".stale-mark").is_visible()
    row.locator("a.value").first.click()
    assert tab.url.endswith("#origin-main-sdxl_t2i")
    entry = tab.locator("#origin-main-sdxl_t2i")
    assert entry.evaluate("fold => fold.open")
    assert "never ran" in entry.locator(".origin-reason").inner_text()


def test_two_versions_are_chosen_and_compared(visit: Any, site: Path) -> None:
    tab = visit("index.html")
    names = sorted(folder.name for folder in (site / "v").iterdir())
    assert tab.get_by_role("link", name="Open the comparison").is_visible()
    tab.get_by_label("First").select_option(names[1])
    assert tab.get_by_text("Choose two different versions").is_visible()
    tab.get_by_label("Second").select_option(names[0])
    assert f"diffsensei report diff {names[1]} {names[0]}" in tab.locator("[data-make]").inner_text()
    tab.get_by_label("First").select_option(names[0])
    tab.get_by_label("Second").select_option(names[1])
    tab.get_by_role("link", name="Open the comparison").click()
    moved = tab.locator(".moved li").first
    assert moved.locator("img").count() == 3
    assert moved.locator("img").first.evaluate("picture => picture.decode().then(() => picture.naturalWidth > 0)")
    moved.get_by_role("link", name="second").click()
    assert "panel.html#" in tab.url


def test_a_version_alone_opens_from_its_folder(visit: Any, browser: Any, site: Path, tmp_path: Path) -> None:
    """As the store holds it: nothing is said of others."""
    newest = next(folder for folder in (site / "v").iterdir() if "-0.2.0-" in folder.name)
    made = next((site.parent / "objects" / "report").rglob(f"{newest.name.rpartition('-')[2]}*/files/index.html"))
    tab = browser.new_page()
    troubles: list[str] = []
    tab.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    tab.on("requestfailed", lambda request: troubles.append(request.url))
    tab.goto(made.as_uri())
    assert not tab.locator("[data-home]").is_visible()
    assert not tab.locator("[data-status]").is_visible()
    assert troubles == []
    tab.close()


def test_hostile_texts_stay_texts_on_every_page(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    monkeypatch.setenv("DIFFSENSEI_STORE", str(store.base))
    for place in range(2):
        evil = "".join(PAYLOADS[place::2])
        run = build_run(tmp_path / str(place), caption=evil, series=evil, character=evil, reason=evil)
        path = run.arguments["score"] / "summary.json"
        text = path.read_text().replace('"label":"DiffSensei"', '"label":"<img src=x onerror=window.pwned=1>"')
        path.write_text(text.replace("how DINO-C is", "</script><script>window.pwned=1</script>"))
        build_report(**run.arguments)
        report = store.publish_object(run.arguments["output"], "report")
        page = publish_version(store, report, run.arguments["config"].release)
    site = page.parents[2]
    versions = [f"v/{page.parent.name}/{name}" for name, _ in PAGES]
    compared = [path.relative_to(site).as_posix() for path in (site / "compare").glob("*.html")]
    assert compared
    for address in ["index.html", *compared, *versions]:
        tab = browser.new_page()
        tab.goto(f"{site.as_uri()}/{address}")
        tab.wait_for_load_state("networkidle")
        assert tab.evaluate("window.pwned === undefined"), address
        assert tab.evaluate("Object.prototype.pwned === undefined"), address
        tab.close()
