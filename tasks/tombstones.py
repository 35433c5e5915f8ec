"""Pages that were taken down, as the store remembers them, and what still rests on them."""

from collections.abc import Iterator
from pathlib import Path

from diffsensei.data.tombstones import Tombstone, Tombstones, read_tombstones
from infra.lineage import Lineage
from infra.store import ObjectRef, Store

VALIDATED = "validate"
"""What kinds of objects with accepted pages end in."""


def tombstones_of(store: Store) -> Tombstones:
    """Every request to take a page down."""
    return read_tombstones(store.base / "tombstones")


def buried_under(store: Store, ref: ObjectRef) -> list[Tombstone]:
    """The tombstones of pages that ``ref``, or anything it was made from, holds."""
    stones = tombstones_of(store)
    if not stones.all:
        return []
    found = {
        stone.asked: stone
        for source in Lineage(store).upstream(ref)
        if source.kind.endswith(VALIDATED)
        for stone in _on_pages(stones, source.path / "pages.parquet")
    }
    return [stone for stone in stones.all if stone.asked in found]


def _on_pages(stones: Tombstones, pages: Path) -> Iterator[Tombstone]:
    """The tombstones of accepted pages in the table ``pages``; its names are compared as columns."""
    import pyarrow as pa  # every plan reads this module, few look into tables
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = ("page_id", "sha256_1", "sha256_2")
    table = pq.read_table(pages, columns=list(columns))
    names = pa.array(sorted(stones.names), type=pa.string())
    for column in columns:
        for name in table[column].filter(pc.is_in(table[column], value_set=names)).to_pylist():
            stone = stones.find([name])
            assert stone is not None
            yield stone
