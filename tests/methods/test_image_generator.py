"""Batches of equal size."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from diffsensei.methods.image_generator import batches_by_size


@dataclass(frozen=True)
class Sized:
    panel_id: str
    height: int
    width: int
    caption: str = ""
    characters: tuple[()] = ()
    dialogs: tuple[()] = ()
    seed: int = field(default=0)


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
