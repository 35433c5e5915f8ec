"""Overrides that change what a section is, not only a value in it."""

import pytest

from diffsensei.config import load_preset
from diffsensei.config.overrides import ConfigError
from diffsensei.config.schema import FilesSource, Manga109Source, MangaZeroSource, SyntheticSource


def test_a_source_is_switched_by_its_kind_and_fields_in_any_order() -> None:
    kind, paths = "data.source.kind=files", 'data.source.paths=["volume-1", "volume-2.cbz"]'
    wanted = FilesSource(paths=("volume-1", "volume-2.cbz"))
    assert load_preset("tiny", [kind, paths]).data.source == wanted
    assert load_preset("tiny", [paths, kind]).data.source == wanted


def test_a_source_is_switched_as_one_object() -> None:
    given = 'data.source={"kind": "mangazero", "annotations": "pages.json", "images": ["scans"]}'
    assert load_preset("tiny", [given]).data.source == MangaZeroSource(annotations="pages.json", images=("scans",))


def test_fields_with_defaults_need_not_be_given() -> None:
    source = load_preset("tiny", ["data.source.kind=manga109", "data.source.root=Manga109"]).data.source
    assert source == Manga109Source(root="Manga109")


def test_the_same_kind_keeps_its_values() -> None:
    source = load_preset("tiny", ["data.source.kind=synthetic", "data.source.seed=9"]).data.source
    assert isinstance(source, SyntheticSource)
    assert (source.seed, source.num_series) == (9, load_preset("tiny").data.source.num_series)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.source.kind=folder"], "data.source.kind: expected one of synthetic, mangazero, manga109, files"),
        (["data.source.kind=[1]"], r"data.source.kind: expected one of .*, got \[1\]"),
        (["data.source.kind=files"], "^data.source.paths: Field required$"),
        (["data.source.num_series=0"], "^data.source.num_series: Input should be greater than or equal to 1, got 0$"),
        (
            ["data.source.kind=files", "data.source.seed=1"],
            "unknown field 'data.source.seed': data.source has kind, paths",
        ),
        (["data.source.paths=[]"], "unknown field 'data.source.paths': data.source has kind, num_series"),
        (["data.source=files"], "'data.source' is a section with fields kind"),
        (['data.source={"paths": []}'], "data.source"),
    ],
)
def test_a_half_switched_source_says_what_is_missing(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_preset("tiny", overrides)
    assert "\n" not in str(error.value)
