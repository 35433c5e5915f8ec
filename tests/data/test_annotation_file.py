"""Reading page by page: the same pages as json.loads, whatever the chunks; a bad page stays alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsensei.data import annotation_file
from diffsensei.data.annotation_file import MAX_DEPTH, Unreadable, iterate_annotations, read_annotations, unknown_keys

GOOD = {"image_path": "s/1.jpg", "frames": [{"caption": 'a "quoted" [brace} \u00e9 \U0001f98a'}], "meta": {}}


def read(tmp_path: Path, content: bytes | str) -> list[Any]:
    path = tmp_path / "annotations.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_annotations(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    pages=st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), max_size=5),
    chunk=st.sampled_from([1, 2, 7, 64, 4096]),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_reads_what_json_reads(
    tmp_path_factory: pytest.TempPathFactory, pages: list, chunk: int, ascii_only: bool, indent: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(pages, ensure_ascii=ascii_only, indent=indent), encoding="utf-8", errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotation_file, "CHUNK_BYTES", chunk)
        if ascii_only or not any("\ud800" <= char <= "\udfff" for char in json.dumps(pages, ensure_ascii=False)):
            assert read_annotations(path) == pages


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ('{"frames": [], "frames": []}', "key 'frames' occurs twice"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "key 'b' occurs twice"),
        ('{"frames": [1,]}', "not JSON"),
        ('{"a" 1}', "not JSON"),
        ("{'a': 1}", "not JSON"),
        (f'{{"a": {"9" * 5000}}}', "not JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested more than"),
        ("3", "a int, expected an object"),
        ("null", "expected an object"),
        ("[]", "a list, expected an object"),
    ],
)
@pytest.mark.parametrize("chunk", [5, 2**22])
def test_a_bad_page_stays_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str, fault: str, chunk: int
) -> None:
    monkeypatch.setattr(annotation_file, "CHUNK_BYTES", chunk if len(page) < 1000 else 2**16)
    before, bad, after = read(tmp_path, f"[{json.dumps(GOOD)}, {page}, {json.dumps(GOOD)}]")
    assert before == after == GOOD
    assert isinstance(bad, Unreadable)
    assert fault in bad.fault
    assert "\n" not in bad.fault


def test_bytes_that_are_not_utf8_condemn_their_page_only(tmp_path: Path) -> None:
    good = json.dumps(GOOD).encode()
    pages = read(tmp_path, b"[" + good + b', {"caption": "caf\xe9"}, ' + good + b"]")
    assert pages == [GOOD, Unreadable("byte 0xe9 is not UTF-8"), GOOD]


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf" + json.dumps([GOOD]).encode()) == [GOOD]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with ''"),
        (b"{}", "starts with '{'"),
        (json.dumps([GOOD]).encode("utf-16"), "starts with"),
        (b"[{]", "is not JSON"),
        (b"[{}", "comes ''"),
        (b"[{},", "ends after 1 pages"),
        (b"[{},]", "is not JSON"),
        (b"[{} {}]", "comes '{'"),
        (b'[{"a": "', "is not JSON"),
        (b"[{}] []", "after the list comes"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_is_no_list_of_pages_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "annotations.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        read_annotations(path)
    assert "\n" not in str(refused.value)


def test_a_folder_is_no_annotation_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder"):
        next(iterate_annotations(tmp_path))


@pytest.mark.parametrize(
    ("cap", "limit", "message"),
    [
        ("MAX_FILE_BYTES", 10, "bytes; expected at most 10"),
        ("MAX_PAGES", 1, "more than 1 pages"),
        ("MAX_PAGE_CHARACTERS", 20, "a page of more than 20 characters"),
    ],
)
def test_caps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cap: str, limit: int, message: str) -> None:
    monkeypatch.setattr(annotation_file, cap, limit)
    monkeypatch.setattr(annotation_file, "CHUNK_BYTES", 8)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, json.dumps([GOOD, GOOD]))


def test_unknown_keys() -> None:
    page = {
        "image_path": "s",
        "meta": {"anything": 1},
        "source": 1,
        "frames": [{"score": 1, "dialogs": [{"text": "hm"}], "characters": [{"type": 0}, {"pose": {}}, 3]}, None],
    }
    assert unknown_keys(page) == ["frames.characters.pose", "frames.dialogs.text", "frames.score", "source"]
    assert unknown_keys(GOOD) == unknown_keys(3) == []
    deep: Any = []
    for _ in range(MAX_DEPTH):
        deep = [deep]
    with pytest.raises(ValueError, match="nested more"):
        unknown_keys({"extra": deep})
