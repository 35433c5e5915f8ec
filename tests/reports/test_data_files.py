import json

import pytest

from reports.data_files import in_parts, write_data, write_parts

HOSTILE = "</script><script>x</script>\u2028'\"\\"


def _read(path, name):
    text = path.read_text(encoding="utf-8")
    start = f'(window.__D=window.__D||{{}})["{name}"]='
    assert text.startswith(start)
    assert text.endswith(";\n")
    return json.loads(text[len(start) : -2])


def test_a_file_holds_what_was_written_and_no_markup(tmp_path):
    value = {"caption": HOSTILE, "values": [1, 0.25, None]}
    write_data(tmp_path, "series/one", value)
    path = tmp_path / "series" / "one.js"
    assert _read(path, "series/one") == value
    assert "<" not in path.read_text()


def test_parts_keep_order_and_size():
    entries = [{"text": "x" * length} for length in (10, 400, 700, 2000, 5)]
    parts = list(in_parts(entries, max_bytes=1000))
    assert [entry for part in parts for entry in part] == entries
    assert [len(part) for part in parts] == [2, 1, 1, 1]
    assert all(len(json.dumps(part)) <= 1100 for part in parts if len(part) > 1)


def test_long_lists_become_several_files(tmp_path):
    written = write_parts(tmp_path, "panels", ["x" * 300_000] * 7)
    assert written == [("panels-0", 3), ("panels-1", 3), ("panels-2", 1)]
    assert len(_read(tmp_path / "panels-2.js", "panels-2")) == 1


def test_no_entries_are_no_file(tmp_path):
    assert write_parts(tmp_path, "panels", []) == []
    assert list(tmp_path.iterdir()) == []


def test_what_json_cannot_say_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_data(tmp_path, "x", float("nan"))
