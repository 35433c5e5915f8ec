"""A panel set: panels and character crops of many pages as PNGs in a few large files, with tables that find them.

``panels.parquet`` and ``crops.parquet`` name, for each image, its shard ``images-<shard>.bin``, offset, length and the
CRC-32 of its bytes.
"""

import hashlib
import mmap
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diffsensei.data.images import Gray, decode_own_png

_ADDRESS = [("shard", pa.int32()), ("offset", pa.int64()), ("length", pa.int64()), ("crc32", pa.int64())]
_BOX = pa.list_(pa.float32())
PANEL_SCHEMA = pa.schema(
    [
        ("panel_id", pa.string()),
        ("page_id", pa.string()),
        ("series", pa.string()),
        ("page_index", pa.int32()),
        ("panel_index", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("caption", pa.string()),
        (
            "characters",
            pa.list_(pa.struct([("id", pa.string()), ("box", _BOX), ("page_box", _BOX), ("type", pa.int32())])),
        ),
        ("dialogs", pa.list_(_BOX)),
        ("excluded_ids", pa.list_(pa.string())),
        *_ADDRESS,
    ]
)
"""Character ``box`` and dialogs are relative to the panel and may leave [0, 1]; ``page_box`` is in page pixels."""
CROP_SCHEMA = pa.schema(
    [
        ("crop_id", pa.int32()),
        ("page_id", pa.string()),
        ("character_id", pa.string()),
        ("panel_id", pa.string()),
        ("character_index", pa.int32()),
        ("type", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        *_ADDRESS,
    ]
)
"""``character_index`` is the place in the ``characters`` list of the panel's row."""


def shard_name(shard: int) -> str:
    """File name of a shard."""
    return f"images-{shard:05d}.bin"


class PanelSet:
    """The panel set in ``folder``; an image is found in O(1), read through a memory map and checked.

    Can be pickled into data-loading processes: each opens its own maps. Raises ValueError for a folder that is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self.panels = pd.read_parquet(folder / "panels.parquet")
            self.crops = pd.read_parquet(folder / "crops.parquet")
        except FileNotFoundError as error:
            raise ValueError(f"{folder} is no panel set ({Path(error.filename or '').name} is absent)") from None
        self._panel_addresses = _addresses(self.panels)
        self._crop_addresses = _addresses(self.crops)
        self._maps: dict[int, mmap.mmap] = {}

    def __len__(self) -> int:
        return len(self.panels)

    def panel_image(self, index: int) -> Gray:
        """Pixels (H, W) of the panel in row ``index`` of ``panels``."""
        return self._image(self._panel_addresses[index])

    def crop_image(self, index: int) -> Gray:
        """Pixels (H, W) of the crop in row ``index`` of ``crops``."""
        return self._image(self._crop_addresses[index])

    def digest(self) -> str:
        """sha256 (64 hex digits) of the tables, which hold the check sum of every image: tells one set from another."""
        digest = hashlib.sha256()
        for name in ("panels", "crops"):
            digest.update((self._folder / f"{name}.parquet").read_bytes())
        return digest.hexdigest()

    def _image(self, address: NDArray[np.int64]) -> Gray:
        shard, offset, length, crc32 = (int(value) for value in address)
        data = self._map(shard)
        if offset + length > len(data):
            raise ValueError(
                f"{self._folder / shard_name(shard)} is cut short at {len(data)} bytes; cut the panels again"
            )
        blob = memoryview(data)[offset : offset + length]
        if zlib.crc32(blob) != crc32:
            raise ValueError(
                f"{self._folder / shard_name(shard)} is damaged at bytes {offset} to {offset + length}; "
                "cut the panels again"
            )
        return decode_own_png(blob)

    def _map(self, shard: int) -> mmap.mmap:
        if shard not in self._maps:
            with (self._folder / shard_name(shard)).open("rb") as file:
                self._maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[shard]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}


def _addresses(table: pd.DataFrame) -> NDArray[np.int64]:
    """(n, 4) shard, offset, length, CRC-32."""
    return table[["shard", "offset", "length", "crc32"]].to_numpy(dtype=np.int64)
