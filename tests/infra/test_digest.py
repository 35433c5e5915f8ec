from pathlib import Path

import pytest

from infra.digest import canonical_json, file_entries, folder_digest, json_digest


def _fill(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_order_of_keys_does_not_matter_but_values_do() -> None:
    assert canonical_json({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    assert json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})
    assert json_digest({"a": 1}) != json_digest({"a": "1"})
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))


def test_sha256_of_known_bytes(tmp_path: Path) -> None:
    (entry,) = file_entries(_fill(tmp_path, {"a.txt": "abc"}))
    assert (entry.path, entry.size) == ("a.txt", 3)
    assert entry.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_folder_digest_sees_names_and_bytes_and_ignores_top_level_logs(tmp_path: Path) -> None:
    base = folder_digest(_fill(tmp_path / "a", {"x/1": "one", "2": "two"}))
    assert base == folder_digest(_fill(tmp_path / "b", {"2": "two", "x/1": "one", "logs/speed.json": "7"}))
    assert base != folder_digest(_fill(tmp_path / "c", {"x/1": "one", "3": "two"}))
    assert base != folder_digest(_fill(tmp_path / "d", {"x/1": "One", "2": "two"}))
    assert base != folder_digest(_fill(tmp_path / "e", {"x/1": "one", "2": "two", "x/logs/speed.json": "7"}))


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="link"):
        folder_digest(tmp_path)
