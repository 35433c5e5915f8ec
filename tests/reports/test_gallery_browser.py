"""Galleries, records, pages and lists in a real browser, from file://."""

import json
from pathlib import Path
from urllib.parse import quote, unquote

import pandas as pd
import pytest

from reports.addresses import panel_address
from reports.site import build_report
from tests.reports.conftest import add_second_set, build_run
from tests.reports.test_gallery import read_data

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; pip install playwright").expect
pytestmark = pytest.mark.slow

PAYLOADS = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<svg onload=window.pwned=1>",
    "</script><script>window.pwned=1</script>",
    '"><img src=x onerror=window.pwned=1>',
    "' onmouseover='window.pwned=1",
    "javascript:window.pwned=1",
    "<iframe srcdoc='<script>parent.pwned=1</script>'>",
    "<a href='javascript:window.pwned=1'>x</a>",
    "{{constructor.constructor('window.pwned=1')()}}",
    "\u2028window.pwned=1//\u2029<!--<script>",
    "__proto__",
)
ADDRESSES = ("panels.html", "panel.html#panel2", "pages.html#0001abcdef", "extremes.html", "series.html")


def _settled(tab):
    """The tab, once everything is drawn."""
    tab.locator(".g-frame, .g-extremes, table").first.wait_for(state="attached")
    tab.wait_for_load_state("networkidle")
    return tab


def _cards(tab, count):
    """The cards, once there are ``count``."""
    cards = tab.locator(".g-card")
    expect(cards).to_have_count(count)
    return cards


def _series(site: Path) -> list[str]:
    return [series["address"] for series in read_data(site, "report")["series"]]


@pytest.fixture(params=["main", "evaluation"])
def of_set(request, site, two_sets) -> tuple[Path, str]:
    """A report's folder and that of one evaluation set's galleries in it."""
    return (site, "") if request.param == "main" else (two_sets, "evaluation/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_their_width_and_show_every_picture(visit, of_set, width, scheme):
    folder, galleries = of_set
    for address in (*ADDRESSES, *_series(folder / galleries)):
        tab = _settled(visit(galleries + address, width, folder, color_scheme=scheme))
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, address
        tab.evaluate("Promise.all([...document.images].map(one => { one.loading = 'eager'; return one.decode() }))")
        assert tab.evaluate("[...document.images].every(one => one.naturalWidth > 0 && one.alt)"), address
        tab.close()


def test_every_link_leads_somewhere(visit, two_sets):
    """Walks from the first page over all records, pages and series; a data page must know the name after the #."""
    seen, waiting = set(), ["index.html"]
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        file, _, name = address.partition("#")
        assert (two_sets / file).is_file(), address
        if file.startswith("downloads/") or file == "version.json":
            continue
        drawn = file.removeprefix("evaluation/").startswith(("panel", "pages", "series/", "extremes"))
        tab = visit(address, folder=two_sets)
        if drawn:
            assert _settled(tab).get_by_text("No such").count() == 0, address
        else:
            assert not name or tab.locator(f"[id='{unquote(name)}']").count() == 1, address
        links = tab.evaluate("[...document.querySelectorAll('main a, nav a')].map(one => one.href)")
        root = two_sets.as_uri() + "/"
        assert all(link.startswith(root) for link in links), address
        # Sections of one page have the same links.
        waiting += [link.removeprefix(root) for link in links if drawn or not name]
        tab.close()
    for galleries, count in (("", 8), ("evaluation/", 6)):
        records = {one.partition("#")[2] for one in seen if one.startswith(f"{galleries}panel.html#")}
        pages = {one for one in seen if one.startswith(f"{galleries}pages.html#")}
        assert records == {f"panel{number}" for number in range(count)}
        assert len(pages) == count // 2
        assert {galleries + address for address in _series(two_sets / galleries)} <= seen


def test_one_set_leads_to_the_same_page_of_the_other(visit, two_sets):
    for page in ("panels.html", "series.html", "extremes.html"):
        tab = visit(page, folder=two_sets)
        sets = tab.get_by_role("navigation", name="Evaluation set")
        assert sets.locator("[aria-current]").inner_text() == "Synthetic world"
        sets.get_by_role("link", name="Manga109").click()
        tab.wait_for_url(f"**/evaluation/{page}")
        assert sets.locator("[aria-current]").inner_text() == "Manga109"
        # The navigation stays within the set; what is of the whole report leads back to it.
        pages = tab.get_by_role("navigation", name="Pages")
        assert pages.get_by_role("link", name="Series").get_attribute("href") == "series.html"
        assert pages.get_by_role("link", name="Study").get_attribute("href") == "../study.html"


def test_an_unknown_panel_is_said(visit):
    tab = visit("panel.html#nobody%3Cb%3E")
    assert tab.get_by_role("heading", name="No such panel").is_visible()
    assert "no panel nobody<b>" in tab.locator("main").inner_text()


def test_boxes_can_be_hidden_by_button_and_by_key(visit, of_set):
    folder, galleries = of_set
    for address in ("panels.html", "panel.html#panel2", "pages.html#0001abcdef"):
        tab = _settled(visit(galleries + address, folder=folder))
        overlay, button = tab.locator(".g-overlay").first, tab.get_by_role("button", name="Boxes")
        assert overlay.is_visible()
        assert button.get_attribute("aria-pressed") == "true"
        button.click()
        assert not overlay.is_visible()
        assert button.get_attribute("aria-pressed") == "false"
        tab.keyboard.press("b")
        assert overlay.is_visible()


def test_boxes_lie_on_the_pixels_they_name(visit):
    """A requested dialog spans 0.55 to 0.95 of its panel's width, wherever and however large it is shown."""
    for address in ("panels.html", "panel.html#panel1"):
        tab = _settled(visit(address, 390))
        figure = tab.locator(".g-versions").nth(1 if address == "panels.html" else 0).locator(".g-frame").first
        picture = figure.locator("img").bounding_box()
        dialog = figure.locator("rect.g-box.g-c0").bounding_box()
        assert abs((dialog["x"] - picture["x"]) / picture["width"] - 0.55) < 0.03
        assert abs((dialog["x"] + dialog["width"] - picture["x"]) / picture["width"] - 0.95) < 0.03


def test_pictures_take_their_place_before_they_load(visit, site):
    """With every picture held back the cards lie where they lie with them."""

    def tops(tab):
        return tab.evaluate("[...document.querySelectorAll('.g-card')].map(one => one.getBoundingClientRect().top)")

    full = tops(_settled(visit("panels.html")))
    tab = visit("extremes.html")
    tab.route("**/*.webp", lambda route: route.fulfill(status=200, body=b"", content_type="image/webp"))
    tab.goto(f"{site.as_uri()}/panels.html")
    assert tops(_settled(tab)) == full


def test_panels_can_be_filtered_and_ordered(visit, site):
    tab = _settled(visit("panels.html"))
    tab.get_by_label("Series").select_option("night-harbour")
    _cards(tab, 4)
    assert tab.locator("[data-count]").inner_text() == "4 of 8 panels"
    tab.get_by_label("Method").select_option("diffsensei")
    expect(tab.locator(".g-card .g-versions > figure")).to_have_count(8)
    tab.get_by_label("Order").select_option("clip")
    tab.get_by_label("Direction").select_option("best")
    expect(tab.locator("dd.g-chosen")).to_have_count(8)
    shown = [float(one) for one in tab.locator("dd.g-chosen").all_inner_texts()][1::2]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 4
    again = _settled(visit(tab.url.removeprefix(site.as_uri() + "/")))
    assert again.locator("[data-count]").inner_text() == "4 of 8 panels, by CLIP of DiffSensei"


def test_states_find_the_panels_that_are_in_them(browser, make_run, visit):
    run = make_run()
    (run.arguments["generate_stage1"] / "images" / "0" / "panel2.png").unlink()
    build_report(**run.arguments)
    tab = _settled(visit("panels.html", folder=run.arguments["output"]))
    tab.get_by_label("State", exact=True).select_option("missing")
    assert _cards(tab, 1).get_attribute("data-id") == "panel2"
    assert tab.locator(".g-absent").inner_text() == "not generated"
    tab.get_by_label("State", exact=True).select_option("given")
    _cards(tab, 0)
    assert tab.get_by_text("No panel is in this state.").is_visible()


def test_keys_step_through_panels_but_not_while_choosing(visit):
    tab = _settled(visit("panels.html"))

    def focused():
        return tab.evaluate("document.activeElement.dataset.id")

    tab.keyboard.press("j")
    expect(tab.locator("[data-id=panel0]")).to_be_focused()
    tab.keyboard.press("j")
    expect(tab.locator("[data-id=panel2]")).to_be_focused()
    tab.keyboard.press("k")
    expect(tab.locator("[data-id=panel0]")).to_be_focused()
    tab.get_by_label("Series").focus()
    tab.keyboard.press("b")
    assert tab.locator(".g-overlay").first.is_visible()
    assert focused() is None


def _scales(tab, where=""):
    """How much larger than its frame each picture is shown, and where it is moved to (per cent of the frame)."""
    return tab.evaluate(
        """(where) => [...document.querySelectorAll(where + " .g-frame > .g-sheet")]
            .filter(sheet => sheet.offsetWidth).map(sheet => {
              const [frame, moved] = [sheet.parentNode.getBoundingClientRect(), sheet.getBoundingClientRect()];
              return [moved.width / frame.width, 100 * (moved.left - frame.left) / frame.width]
                .map(value => Math.round(value * 10) / 10).join(" ") })""",
        where,
    )


def test_zoom_is_the_same_for_all_pictures(visit):
    tab = _settled(visit("panel.html#panel2"))
    assert set(_scales(tab)) == {"1 0"}
    tab.keyboard.press("+")
    tab.get_by_role("button", name="Zoom in").click()
    zoomed = set(_scales(tab))
    assert zoomed == {"2 -48"}
    assert tab.locator("[data-zoom]").inner_text() == "196 %"
    frame = tab.locator(".g-versions .g-frame").nth(1).bounding_box()
    tab.mouse.move(frame["x"] + 40, frame["y"] + 40)
    tab.mouse.down()
    tab.mouse.move(frame["x"] + 40 + frame["width"] / 4, frame["y"] + 40, steps=4)
    tab.mouse.up()
    assert set(_scales(tab)) == {"2 -23"}
    assert tab.locator("dialog[open]").count() == 0
    tab.keyboard.press("0")
    assert set(_scales(tab)) == {"1 0"}


def test_the_lightbox_steps_by_keyboard_and_gives_the_focus_back(visit, of_set):
    folder, galleries = of_set
    tab = _settled(visit(f"{galleries}panels.html", folder=folder))
    opener = tab.get_by_role("button", name="SDXL text-to-image: look closer").nth(1)
    opener.focus()
    tab.keyboard.press("Enter")
    box = tab.locator("dialog[open]")
    names = box.locator("figcaption > b")
    assert names.all_inner_texts() == ["Ground truth", "SDXL text-to-image"]
    assert box.locator("h2").inner_text() == f"{'ink-well' if galleries else 'paper-moon'}, page 0001abcd, panel 1"
    tab.keyboard.press("ArrowRight")
    assert names.all_inner_texts() == ["Ground truth", "DiffSensei without MLLM"]
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    assert names.all_inner_texts() == ["Ground truth"]
    tab.keyboard.press("ArrowLeft")
    assert names.all_inner_texts() == ["Ground truth", "DiffSensei"]
    before = box.locator("h2").inner_text()
    tab.keyboard.press("ArrowDown")
    expect(box.locator("h2")).not_to_have_text(before)
    tab.keyboard.press("ArrowUp")
    expect(box.locator("h2")).to_have_text(before)
    tab.keyboard.press("+")
    assert set(_scales(tab, "dialog")) == {"1.4 -20"}
    tab.keyboard.press("ArrowRight")
    assert names.all_inner_texts() == ["Ground truth", "DiffSensei"]
    assert len(set(_scales(tab, "dialog"))) == 1
    tab.keyboard.press("-")
    tab.keyboard.press("b")
    assert not box.locator(".g-overlay").first.is_visible()
    tab.keyboard.press("b")
    tab.keyboard.press("Escape")
    assert box.count() == 0
    assert opener.evaluate("one => one === document.activeElement")


def test_a_page_is_composed_of_the_chosen_methods_panels(visit, site):
    tab = _settled(visit("pages.html#0001abcdef"))
    assert tab.locator(".g-switch input:checked").evaluate("one => one.parentNode.textContent") == "DiffSensei"
    page = tab.locator(".g-page").last
    first = page.locator("img").first.get_attribute("src")
    tab.get_by_role("radio", name="SDXL text-to-image").check()
    expect(tab.locator(".g-spread figure b").last).to_have_text("SDXL text-to-image")
    assert tab.locator(".g-page").last.locator("img").first.get_attribute("src") != first
    boxes = {page["id"]: page["boxes"] for page in read_data(site, "pages-0")}["0001abcdef"]
    frame = tab.locator(".g-page").last.bounding_box()
    for number, box in enumerate(boxes.values()):
        slot = tab.locator(".g-page").last.locator(".g-slot").nth(number).bounding_box()
        assert abs((slot["x"] - frame["x"]) / frame["width"] - box[0]) < 0.01
        assert abs((slot["y"] - frame["y"]) / frame["height"] - box[1]) < 0.01
    tab.locator(".g-page").last.locator(".g-slot").first.click()
    tab.wait_for_url("**/panel.html#panel2")


def test_lists_follow_the_metric_and_lead_to_records(visit, of_set):
    folder, galleries = of_set
    total = 6 if galleries else 8
    tab = _settled(visit(f"{galleries}extremes.html", folder=folder))
    tab.get_by_label("Metric").select_option(label="DINO-I")
    tab.get_by_role("heading", name="Worst DINO-I").wait_for()
    worst, best, changed = (tab.locator(".g-extremes").nth(number) for number in range(3))
    low = [float(one) for one in worst.locator("a > b").all_inner_texts()]
    high = [float(one) for one in best.locator("a > b").all_inner_texts()]
    assert low == sorted(low)
    assert high == sorted(high, reverse=True)
    assert max(low) <= min(high)
    moves = [abs(float(one.replace("\N{MINUS SIGN}", "-"))) for one in changed.locator("a > b").all_inner_texts()]
    assert moves == sorted(moves, reverse=True)
    again = _settled(visit(galleries + tab.url.rpartition("/")[2], folder=folder))
    assert again.get_by_role("heading", name="Worst DINO-I").is_visible()
    rules = tab.locator(".g-rules").inner_text()
    assert "CLIP is under 0.141" in rules
    link = tab.locator("[data-tags] a").first
    share = link.inner_text()
    count = link.locator("xpath=..").locator(".g-under").inner_text()
    assert share.endswith("%")
    link.click()
    tab.locator(".g-card").first.wait_for()
    assert tab.locator("[data-count]").inner_text() == f"{count} of {total} panels"


def test_scores_give_reasons_for_what_is_missing(make_run, visit):
    run = make_run()
    path = run.arguments["score"] / "items.parquet"
    items = pd.read_parquet(path)
    gone = items["panel_id"].eq("panel2") & items["method"].eq("diffsensei") & items["metric"].eq("clip")
    items.loc[gone, "value"] = None
    items.loc[gone, "skipped"] = "no caption"
    items.to_parquet(path)
    build_report(**run.arguments)
    tab = _settled(visit("panel.html#panel2", folder=run.arguments["output"]))
    row = tab.get_by_role("row", name="CLIP")
    assert row.locator("td").last.inner_text() == "no caption"
    assert row.locator(".g-reason").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_keeps_anyone_out(visit, of_set, scheme):
    """No violation that axe-core calls serious or critical, of the page and of the lightbox over it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()
    folder, galleries = of_set
    for address in (*ADDRESSES, _series(folder / galleries)[0]):
        tab = _settled(visit(galleries + address, folder=folder, color_scheme=scheme))
        states = ["page"] if not address.startswith("panel") else ["page", "lightbox"]
        for state in states:
            if state == "lightbox":
                tab.locator(".g-open").last.click()
            response = axe.run(tab).response
            assert len(response["passes"]) > 10
            found = response["violations"]
            grave = [
                (one["id"], [node["target"] for node in one["nodes"][:3]])
                for one in found
                if one["impact"] in ("serious", "critical")
            ]
            assert grave == [], (address, state)
        tab.close()


def _hostile(arguments: dict[str, object], stages: str = "") -> None:
    """Put a payload into each panel's caption, series, page, id and characters, and into each method's label.

    ``stages``: what the names of the evaluation set's stages begin with.
    """
    listing = arguments[f"{stages}benchmark"] / "panels.jsonl"
    panels = [json.loads(line) for line in listing.read_text().splitlines()]
    for panel, payload in zip(panels, PAYLOADS, strict=True):
        # No file can be called with a slash: what is drawn under this id is missing, which is a state.
        panel["panel_id"] = payload.replace("/", "\N{DIVISION SLASH}")
        panel |= {"caption": payload, "series": payload, "page_id": f"{payload}{panel['page_id']}"}
        for character in panel["characters"]:
            character |= {"id": payload, "source": payload}
    listing.write_text("".join(json.dumps(panel) + "\n" for panel in panels))
    path = arguments[f"{stages}score"] / "summary.json"
    summary = json.loads(path.read_text())
    for method, payload in zip(summary["methods"], PAYLOADS[5::-1], strict=False):
        method["label"] = payload
    for metric, payload in zip(summary["metrics"], PAYLOADS[::-1], strict=False):
        metric |= {"label": payload, "definition": payload}
    path.write_text(json.dumps(summary))


@pytest.mark.parametrize("galleries", ["", "evaluation/"])
def test_hostile_texts_stay_texts(browser, tmp_path, galleries):
    run = build_run(tmp_path, num_panels=len(PAYLOADS))
    if galleries:
        run = add_second_set(run, tmp_path, len(PAYLOADS))
    _hostile(run.arguments, "evaluation_" if galleries else "")
    build_report(**run.arguments)
    output = run.arguments["output"] / galleries
    listed = read_data(output, "panels-0")
    assert len(_series(output)) == len(listed) == len(PAYLOADS)
    visits = [("panels.html", PAYLOADS), ("extremes.html", PAYLOADS[1:4]), ("series.html", PAYLOADS)]
    visits += [(address, (payload,)) for address, payload in zip(_series(output), PAYLOADS, strict=True)]
    visits += [(panel_address(entry[0]), (payload,)) for entry, payload in zip(listed, PAYLOADS, strict=True)]
    visits += [(f"pages.html#{quote(entry[3])}", (pay,)) for entry, pay in zip(listed, PAYLOADS, strict=True)]
    tab = browser.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    for address, payloads in visits:
        tab.goto("about:blank")
        tab.goto(f"{output.as_uri()}/{address}")
        _settled(tab)
        if address == "panels.html":
            tab.locator(".g-open").last.click()
        tab.evaluate("document.querySelectorAll('main *').forEach(one => one.dispatchEvent(new Event('mouseover')))")
        text = tab.locator("body").evaluate("one => one.textContent")
        for payload in payloads:
            assert payload in text, (address, payload)
        assert tab.evaluate("window.pwned === undefined"), address
        assert tab.locator("main iframe, main script, main svg:not(.g-overlay)").count() == 0, address
        assert set(tab.evaluate("[...document.links].map(a => a.protocol)")) == {"file:"}, address
    assert errors == []
    tab.close()
