"""Crop sheets in a real browser from file://: keys, mouse, undo, download, and what comes out of the download."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffsensei.data.annotation import crop_sheet
from diffsensei.data.annotation.annotated_folder import AnnotatedFolder
from diffsensei.data.annotation.crop_sheet import sheet_page, write_crop_sheets
from diffsensei.data.annotation.edits import IdentityEdit, RemoveEdit, Review, read_edits
from diffsensei.data.annotation.layers import refine_page
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.records import PageAnnotation

Open = Callable[[Path], Any]
PAYLOADS = (
    "<script>boom()</script>",
    "</script><script>boom()</script>",
    "<!--<script>boom()</script>",
    "<img src=x onerror=boom()>",
    '"><svg onload=boom()>',
    "' autofocus onfocus=boom() x='",
    "javascript:boom()",
    "{{ 7 * 7 }}",
    "${boom()}",
    "&lt;img src=x onerror=boom()&gt;",
    "\\u003cscript\\u003eboom()",
    "__proto__",
    "]]><script>boom()</script>",
    "</style><script>boom()</script>",
)
BLANK = np.full((100, 200), 255, np.uint8)


@pytest.fixture(scope="module")
def sheets(world: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A sheet of the first page, and one of its whole chapter."""
    folder = tmp_path_factory.mktemp("sheets")
    pages = list(AnnotatedFolder(world.folder, max_megapixels=50).pages())
    (chapter,) = write_crop_sheets(pages, folder / "chapter", per="chapter")
    return write_crop_sheets(pages, folder / "pages")[0], chapter


@pytest.fixture
def open_sheet(browser: Any) -> Iterator[Open]:
    """Opens a file; fails the test on any error in the page and any request but the file itself."""
    troubles: list[str] = []
    contexts = []

    def opened(path: Path, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(20_000)
        tab.on("console", lambda line: troubles.append(line.text) if line.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        allowed = (path.as_uri(), "data:", "blob:")
        tab.on("request", lambda r: None if r.url.startswith(allowed) else troubles.append(f"outside: {r.url}"))
        tab.goto(path.as_uri())
        tab.locator(".crop").first.wait_for()
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def download(tab: Any, path: Path, annotator: str = "Ann") -> Path:
    tab.get_by_label("Annotator").fill(annotator)
    with tab.expect_download() as got:
        tab.get_by_role("button", name="Download edits").click()
    got.value.save_as(path)
    return path


def focused(tab: Any) -> str:
    box: str = tab.evaluate("document.activeElement.dataset.box")
    return box


def press(tab: Any, *keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def focus_box(tab: Any, box: str) -> None:
    tab.locator(f'.crop[data-box="{box}"]').click()


@pytest.mark.slow
def test_from_keys_to_the_truth(world: Any, sheets: tuple[Path, Path], open_sheet: Open, tmp_path: Path) -> None:
    """The two people the machine took for one are told apart by keyboard, and the download corrects the page."""
    key, true = next(iter(world.truth.items()))
    machine = world.machine.boxes(key)
    tab = open_sheet(sheets[0])
    wrong = [name for name, who in true.items() if machine[name].character_id != who]
    people = list(dict.fromkeys(str(b.character_id) for b in machine.values() if b.kind == "character"))
    focus_box(tab, wrong[0])
    press(tab, "n")
    assert focused(tab) != wrong[0]
    press(tab, "u")
    assert focused(tab) == wrong[0]
    assert tab.locator(".crop.changed").count() == 0
    for number, name in enumerate(wrong):
        focus_box(tab, name)
        press(tab, "n" if number == 0 else str(len(people) + 1))
    press(tab, "r")
    assert tab.get_by_role("checkbox").is_checked()
    edits = read_edits(download(tab, tmp_path / "edits.jsonl"), world.machine)
    assert [type(edit) for edit in edits] == [Review] + [IdentityEdit] * len(wrong)
    final = {box.box_id: box for box in refine_page(key, machine, edits).final}
    new = {final[name].character_id for name in wrong}
    assert len(new) == 1
    assert new.isdisjoint(final[name].character_id for name in true if name not in wrong)
    assert all(final[name] == box for name, box in machine.items() if name not in wrong)


@pytest.mark.slow
def test_types_removal_undo_and_names(world: Any, sheets: tuple[Path, Path], open_sheet: Open, tmp_path: Path) -> None:
    key = next(iter(world.truth))
    tab = open_sheet(sheets[0])
    first = focused(tab)
    kind = world.machine.boxes(key)[first].type
    press(tab, "t", "t", "u", "ArrowRight")
    second = focused(tab)
    press(tab, "0")
    assert tab.locator(".person.none .crop").count() == 1
    tab.get_by_role("button", name="Download edits").click()
    assert tab.get_by_label("Annotator").get_attribute("aria-invalid") == "true"
    edits = read_edits(download(tab, tmp_path / "edits.jsonl", " Bob "), world.machine)
    by_box = {edit.box_id: edit for edit in edits if not isinstance(edit, Review)}
    changed, removed = by_box[first], by_box[second]
    assert isinstance(changed, IdentityEdit)
    assert (changed.type, changed.old_id, changed.annotator) == ((kind + 1) % 3, changed.new_id, "Bob")
    assert isinstance(removed, RemoveEdit)
    assert len(edits) == 2


@pytest.mark.slow
def test_a_chapter_by_mouse_and_what_a_reload_keeps(
    world: Any, sheets: tuple[Path, Path], open_sheet: Open, tmp_path: Path
) -> None:
    tab = open_sheet(sheets[1])
    assert tab.locator("#pages button").count() == len(world.truth)
    press(tab, "]")
    key = list(world.truth)[1]
    assert tab.locator("#page").get_attribute("alt") == f"Page {key}"
    crop = tab.locator(".person").first.locator(".crop").first
    name = crop.get_attribute("data-box")
    crop.hover()
    assert tab.locator("#marks .here").get_attribute("data-box") == name
    crop.drag_to(tab.locator(".person.none"))
    assert tab.locator(".person.none .crop").get_attribute("data-box") == name
    tab.on("dialog", lambda dialog: dialog.accept())
    tab.reload()
    press(tab, "]")
    assert tab.locator(".person.none .crop").get_attribute("data-box") == name
    (edit,) = read_edits(download(tab, tmp_path / "edits.jsonl"), world.machine)
    assert (edit.page_key, edit.action) == (key, "remove")


@pytest.mark.slow
def test_names_and_roles_for_screen_readers(sheets: tuple[Path, Path], open_sheet: Open) -> None:
    tab = open_sheet(sheets[0])
    names = tab.locator(".crop").evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
    assert all(re.match(r"Person \S+, (clean|vague|exaggerated), panel \d+", name) for name in names)
    assert tab.get_by_role("group", name=re.compile("Person")).count() >= 1
    assert tab.locator('.crop[tabindex="0"]').count() == 1
    press(tab, "?")
    assert tab.get_by_role("dialog", name="Keys").is_visible()
    press(tab, "Escape")
    assert focused(tab)


@pytest.mark.slow
@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_comes_from_outside_stays_text(
    payload: str, page: PageAnnotation, open_sheet: Open, tmp_path: Path
) -> None:
    raw = page.model_dump()
    raw["frames"][0]["caption"] = payload
    raw["frames"][0]["characters"][0]["id"] = payload
    key = f"a/{payload}/1.png".replace("\\", "_")
    raw["image_path"] = key
    machine = MachineLayer([raw])
    assert list(machine.pages) == [key]
    (path,) = write_crop_sheets([(key, machine.page(key), BLANK)], tmp_path)
    tab = open_sheet(path)
    assert tab.evaluate("typeof boom") == "undefined"
    assert tab.locator("h1").text_content() == key
    assert tab.locator(".person h2").first.text_content() == f"1Person {payload}"
    assert tab.locator("#details p").text_content() == payload
    assert tab.locator("script").count() == 2
    press(tab, "2")
    (edit,) = read_edits(download(tab, tmp_path / "edits.jsonl"), machine)
    assert isinstance(edit, IdentityEdit)
    assert (edit.old_id, edit.new_id) == (payload, 1)


def test_a_file_names_everything_it_may_do(sheets: tuple[Path, Path]) -> None:
    text = sheets[0].read_text()
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_chapters_are_split_where_they_grow_too_large(
    page: PageAnnotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [(f"a/{n}.png", page.model_copy(update={"image_path": f"a/{n}.png"}), BLANK) for n in range(5)]
    size = sheet_page(*pages[0])[1]
    monkeypatch.setattr(crop_sheet, "MAX_SHEET_BYTES", 2 * size)
    assert len(write_crop_sheets(pages, tmp_path, per="chapter")) == 3
    assert len(write_crop_sheets(pages, tmp_path, per="page")) == 5


def test_boxes_that_cannot_be_shown_are_left_out(page: PageAnnotation) -> None:
    raw = page.model_dump()
    raw["frames"][0]["characters"][0]["bbox"] = (float("nan"), 0, 1, 1)
    raw["frames"][0]["characters"][1]["bbox"] = (500, 0, 600, 50)
    raw["frames"][1]["characters"][0]["bbox"] = (199.8, 99.8, 200, 100)
    content, _ = sheet_page("a/1.png", PageAnnotation.model_validate(raw), BLANK)
    assert [crop["bbox"] for crop in content["crops"]] == [[199.8, 99.8, 200, 100]]
