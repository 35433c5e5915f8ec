"""great_expectations' pages of a validation: one per table, and no value from outside on them."""

import json
from pathlib import Path

import pytest

from diffsensei.config.presets import paper
from diffsensei.data.validation.annotation_check import check_annotations
from diffsensei.data.validation.data_docs import write_data_docs
from tests.data.corpus.annotation_files import GOOD

EVIL = "<script>window.pwned=1</script>"


def test_a_page_per_table_without_values(tmp_path: Path) -> None:
    page = json.loads(json.dumps(GOOD))
    page["frames"][0]["caption"] = EVIL
    (tmp_path / "annotations.json").write_text(json.dumps([page]))
    data = paper().data
    check = check_annotations(tmp_path / "annotations.json", data.validation, data.buckets)
    (tmp_path / "validation.json").write_text(json.dumps(check.report))
    pages = write_data_docs(tmp_path, tmp_path / "docs")
    assert [path.name for path in pages] == ["pages.html", "panels.html", "characters.html", "dialogs.html"]
    text = (tmp_path / "docs" / "panels.html").read_text()
    assert "shorter_side" in text
    assert EVIL not in text
    with pytest.raises(ValueError, match="empty folder"):
        write_data_docs(tmp_path, tmp_path / "docs")
    with pytest.raises(ValueError, match="no validation"):
        write_data_docs(tmp_path / "docs", tmp_path / "other")
