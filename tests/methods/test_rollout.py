"""Who is drawn when, and what each panel sees of those before it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diffsensei.methods.rollout import Turn, batches_by_size, in_reading_order, single_panels, whole_pages


@dataclass(frozen=True)
class Sized:
    panel_id: str
    height: int
    width: int
    caption: str = ""
    characters: tuple[()] = ()
    dialogs: tuple[()] = ()
    seed: int = field(default=0)
    given: str = ""


@given(st.lists(st.tuples(st.sampled_from([8, 16]), st.sampled_from([8, 16]))), st.integers(1, 4))
def test_batches_partition_the_panels_by_size_and_keep_order(sizes: list[tuple[int, int]], batch_size: int) -> None:
    panels = [Sized(str(index), *size) for index, size in enumerate(sizes)]
    batches = batches_by_size(panels, batch_size)
    assert sorted(panel.panel_id for batch in batches for panel in batch) == sorted(panel.panel_id for panel in panels)
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        assert len({(panel.height, panel.width) for panel in batch}) == 1
    for size in set(sizes):
        ids = [int(p.panel_id) for batch in batches for p in batch if (p.height, p.width) == size]
        assert ids == sorted(ids)
        # Only the last batch of a size may be smaller.
        assert sum((batch[0].height, batch[0].width) == size for batch in batches) == -(-len(ids) // batch_size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("L", (8, 8), 7).save(tmp_path / "first.png")
    return tmp_path


PAGES = (
    (Sized("a1", 8, 8, given="first.png"), Sized("a2", 8, 8), Sized("a3", 16, 8)),
    (Sized("b1", 8, 8), Sized("b2", 8, 8)),
    (Sized("c1", 8, 8, given="first.png"),),
)


def test_given_panels_are_seen_and_not_drawn(folder: Path) -> None:
    rounds: list[dict[str, list[str]]] = []

    def draw(turns: Sequence[Turn]) -> Iterator[tuple[str, Image.Image]]:
        rounds.append({turn.panel.panel_id: [e.panel.panel_id for e in turn.earlier] for turn in turns})
        for turn in turns:
            if turn.panel.panel_id == "a2":
                assert turn.earlier[0].image.getpixel((0, 0)) == 7
            if turn.panel.panel_id == "a3":
                assert turn.earlier[-1].image.getpixel((0, 0)) == 2
            yield turn.panel.panel_id, Image.new("L", (8, 8), int(turn.panel.panel_id[1]))

    drawn = dict(in_reading_order(PAGES, folder, 4, draw))
    assert sorted(drawn) == ["a2", "a3", "b1", "b2"]
    assert rounds == [{"b1": []}, {"a2": ["a1"], "b2": ["b1"]}, {"a3": ["a1", "a2"]}]
    rounds.clear()
    dict(in_reading_order(PAGES, folder, 1, draw))
    assert rounds[-1] == {"a3": ["a2"]}


def test_pieces_cover_what_is_to_draw_once() -> None:
    assert [[p.panel_id for p in piece[0]] for piece in single_panels(PAGES, 2)] == [["a2", "b1"], ["b2"], ["a3"]]
    assert [[page[0].panel_id for page in piece] for piece in whole_pages(PAGES, 1)] == [["a1"], ["b1"]]
