"""Manga109 as published becomes our records: boxes to panels, faces to types, pages by a rule, terms on record."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from diffsensei.config.schema import Manga109Source
from diffsensei.data.records import parse_page
from diffsensei.data.sources.annotations import collect_annotations
from diffsensei.data.sources.manga109 import convert_page
from diffsensei.data.sources.manga109_xml import Marked, MarkedPage, parse_safely
from tests.data.sources.manga109_folder import TITLES, write_manga109


def collect(root: Path, tmp_path: Path, **fields) -> Path:
    output = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    output.mkdir()
    source = Manga109Source(root=str(root), **({"accept_terms": True} | fields))
    collect_annotations(source=source, workspace=tmp_path, output=output)
    return output


def test_a_drawn_folder_comes_back_box_by_box(tmp_path: Path) -> None:
    drawn = write_manga109(tmp_path / "m")
    pages = [
        parse_page(raw) for raw in json.loads((collect(tmp_path / "m", tmp_path) / "annotations.json").read_text())
    ]
    assert [page.image_path for page in pages] == list(drawn)
    for page in pages:
        truth = {frame.bbox: frame for frame in drawn[page.image_path].frames}
        assert {frame.bbox for frame in page.frames} == set(truth)
        for frame in page.frames:
            want = truth[frame.bbox]
            assert Counter(d.bbox for d in frame.dialogs) == Counter(d.bbox for d in want.dialogs)
            got = {(c.bbox, str(c.id).rpartition("-")[2], c.type) for c in frame.characters}
            assert got == {(c.bbox, str(c.id), min(c.type, 1)) for c in want.characters}
        right_first = page.frames[0].bbox[0] >= page.meta.images[0].width / 2 - 1
        assert right_first, "manga is read from the right half"


def test_terms_are_accepted_and_kept(tmp_path: Path) -> None:
    write_manga109(tmp_path / "m")
    (tmp_path / "m" / "authors.csv").write_text("ARMS,Kato Masaki\n")
    with pytest.raises(ValueError, match="accept_terms=true"):
        collect(tmp_path / "m", tmp_path, accept_terms=False)
    licence = json.loads((collect(tmp_path / "m", tmp_path) / "licence.json").read_text())
    assert licence["credits"] == {"ARMS": "ARMS, (c) Kato Masaki"}
    assert licence["accepted"] is True
    assert "academic" in licence["terms"]


def test_pages_are_chosen_by_a_rule_and_frozen(tmp_path: Path) -> None:
    write_manga109(tmp_path / "m")
    first, again = (collect(tmp_path / "m", tmp_path, pages_per_book=1, books=("ARMS",)) for _ in range(2))
    selection = json.loads((first / "selection.json").read_text())
    assert (first / "selection.json").read_bytes() == (again / "selection.json").read_bytes()
    (page,) = selection["pages"]
    image = (tmp_path / "m" / "images" / page["image_path"]).read_bytes()
    assert page["image_sha256"] == hashlib.sha256(image).hexdigest()
    assert selection["is_papers_list"] is False
    ranked = sorted(
        (f"ARMS/{i:03d}.jpg" for i in range(3)), key=lambda n: hashlib.sha256(f"sha256-rank/1:{n}".encode()).hexdigest()
    )
    assert page["image_path"] == ranked[0]


def test_boxes_go_to_their_frame_or_the_nearest_and_gutter_text_is_counted() -> None:
    page = MarkedPage(
        0, 400, 100,
        frames=[Marked("l", (0, 0, 100, 100)), Marked("r", (300, 0, 400, 100))],
        bodies=[
            Marked("a", (310, 10, 350, 90), "known"),
            Marked("b", (80, 10, 180, 90), "stranger"),  # a fifth inside the left frame
        ],
        faces=[Marked("f", (315, 15, 330, 30), "known"), Marked("g", (100, 15, 120, 30), "known")],
        texts=[Marked("t", (190, 0, 210, 20)), Marked("u", (20, 20, 40, 40))],
    )  # fmt: skip
    counts: Counter[str] = Counter()
    right, left = convert_page("T", page, frozenset({"known"}), counts).frames
    assert [(c.id, c.type) for c in right.characters] == [("known", 0)]
    assert [(c.id, c.type) for c in left.characters] == [("stranger", 1)]
    assert (len(left.dialogs), len(right.dialogs)) == (1, 0)
    assert +counts == {"undeclared characters": 1, "boxes by nearest frame": 1, "texts in the gutter": 1}


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (b'<!DOCTYPE b [<!ENTITY a "aa">]><b>&a;</b>', "document type"),
        ("<?xml version='1.0' encoding='utf-16'?><b/>".encode("utf-16"), "not UTF-8"),
        (b"<?xml version='1.0' encoding='utf-7'?><b/>", "encoding 'utf-7'"),
        (b"<b>", "not well-formed"),
    ],
)
def test_xml_that_is_not_plain_is_refused(xml: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_safely(xml)


def test_a_folder_that_is_not_as_published_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"books\.txt"):
        collect(tmp_path, tmp_path)
    write_manga109(tmp_path / "m")
    with pytest.raises(ValueError, match="Naruto"):
        collect(tmp_path / "m", tmp_path, books=("Naruto",))
    xml = tmp_path / "m" / "annotations" / f"{TITLES[0]}.xml"
    xml.write_text(xml.read_text().replace("xmin=", "x=", 1))
    with pytest.raises(ValueError, match=r"ARMS\.xml: page 0, <.* has no xmin"):
        collect(tmp_path / "m", tmp_path)
