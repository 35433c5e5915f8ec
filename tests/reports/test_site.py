import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from diffsensei.config import load_preset
from reports.site import PAGES, build_report

EVIL = "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>\"'&{{7*7}}$x$"


OWN_SCRIPTS = [{"src": "data/status.js"}, {}]
"""What every page runs: how its version stands among others, and the page's own script."""


class _Page(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def _read(output: Path) -> dict[str, _Page]:
    return {name: _Page((output / name).read_text()) for name, _ in PAGES}


def test_all_pages_are_written_and_every_link_and_picture_exists(site):
    for name, page in _read(site).items():
        ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
        for tag, attributes in page.tags:
            address = attributes.get("href") if tag == "a" else attributes.get("src") if tag == "img" else None
            if address is None:
                continue
            file, _, fragment = address.partition("#")
            assert not file or (site / file).is_file(), (name, address)
            if fragment and not file:
                assert fragment in ids, (name, address)


def test_extremes_lead_to_records(site):
    addresses = [a.get("href") or "" for tag, a in _read(site)["index.html"].tags if tag == "a"]
    links = [address for address in addresses if "panel.html#" in address]
    asked = {f"panel.html#panel{number}" for number in range(8)}
    assert links
    assert set(links) <= asked


def test_pictures_have_alternative_texts_and_hashed_names(site):
    pictures = [a for page in _read(site).values() for tag, a in page.tags if tag == "img"]
    assert pictures
    for attributes in pictures:
        assert attributes["alt"]
        assert re.fullmatch(r"assets/[0-9a-f]{16}(-256)?\.webp", attributes["src"])


def test_nothing_points_outside(site):
    for name, _ in PAGES:
        text = (site / name).read_text()
        addresses = re.findall(r"(?:src|href|action)=\"([a-z]+:[^\"]*)", text)
        assert not [a for a in addresses if not a.startswith("http://www.w3.org/")], addresses
        assert "@import" not in text
        assert 'type="module"' not in text
        assert "fetch(" not in text


def test_hostile_texts_stay_texts(make_run):
    run = make_run(caption=EVIL, series=EVIL, character=EVIL, reason=EVIL)
    build_report(**run.arguments)
    output = run.arguments["output"]
    for name, page in _read(output).items():
        scripts = [attributes for tag, attributes in page.tags if tag == "script"]
        assert [entry for entry in scripts if entry not in OWN_SCRIPTS[:1]][-1:] == [{}], name
        assert all(str(entry.get("src", "data/")).removeprefix("../").startswith("data/") for entry in scripts), name
        assert not [1 for _, attributes in page.tags for key in attributes if key.startswith("on")], name
    assert EVIL in _read(output)["series.html"].text
    assert EVIL in _read(output)["data.html"].text


def test_hostile_method_labels_stay_texts_in_charts(make_run):
    run = make_run()
    path = run.arguments["score"] / "summary.json"
    path.write_text(path.read_text().replace('"label":"DiffSensei"', '"label":"<script>x</script>$a_b$"'))
    build_report(**run.arguments)
    page = _read(run.arguments["output"])["index.html"]
    assert [attributes for tag, attributes in page.tags if tag == "script"] == OWN_SCRIPTS
    assert page.text.count("<script>x</script>$a_b$") >= 8


def test_reference_outside_the_benchmark_is_refused(make_run):
    run = make_run()
    path = run.arguments["benchmark"] / "panels.jsonl"
    path.write_text(path.read_text().replace("references/panel1-0.png", "../score/secret.png"))
    with pytest.raises(ValueError, match="lies outside"):
        build_report(**run.arguments)


def test_the_first_page_says_what_the_run_is(site):
    text = _read(site)["index.html"].text
    assert "Smoke-size run on a synthetic world." in text
    assert "not comparable with the paper's data" in text
    assert "definition unknown, not comparable" in text


def test_results_stand_with_intervals_and_numbers_beside_the_papers(site):
    text = " ".join(_read(site)["index.html"].text.split())
    assert "0.8360.786\N{EN DASH}0.886n = 97" in text
    assert "n = 94/97" in text
    assert "0.727" in text
    assert "Shuffled truth" in text


def test_provenance_lists_overrides_and_the_command(site):
    text = _read(site)["provenance.html"].text
    command = (
        "diffsensei run full-pipeline --preset tiny --set training.stage2.steps=200 --set sampling.guidance_scale=2.5"
    )
    assert command in text
    usual = load_preset("tiny").training.stage2.steps
    assert f"preset: {usual}" in text
    assert "Some Processor 3000" in text


def test_the_same_run_gives_the_same_bytes(make_run, tmp_path):
    run = make_run()
    build_report(**run.arguments)
    again = tmp_path / "again"
    again.mkdir()
    build_report(**run.arguments | {"output": again})
    first = {p.relative_to(run.arguments["output"]): p.read_bytes() for p in run.arguments["output"].rglob("*.*")}
    assert first == {p.relative_to(again): p.read_bytes() for p in again.rglob("*.*")}


def test_missing_inputs_are_named(make_run):
    run = make_run()
    (run.arguments["validate"] / "counts.json").unlink()
    with pytest.raises(ValueError, match=r"counts\.json missing; run the validate stage"):
        build_report(**run.arguments)


def test_drawings_of_the_second_set_are_not_shown_as_those_of_the_first(make_run, tmp_path):
    run = make_run()
    build_report(**run.arguments)
    first = (run.arguments["output"] / "panels.html").read_bytes()
    second = tmp_path / "evaluation_generate_diffsensei"
    (second / "images" / "0").mkdir(parents=True)
    (second / "generation.json").write_text((run.arguments["generate_diffsensei"] / "generation.json").read_text())
    again = tmp_path / "again"
    again.mkdir()
    build_report(**run.arguments | {"output": again}, evaluation_generate_diffsensei=second)
    assert (again / "panels.html").read_bytes() == first
