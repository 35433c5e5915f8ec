"""``python -m tests.benchmarks formats``: the same panels in our format and in those of well-kept libraries.

Each format runs in a process of its own. Libraries that are not installed are left out; none but pyarrow is a
dependency. "After a kill": whole images that can be read when the writer was killed half way.
"""

import io
import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

COPIES = 4
BATCH = 16
NUM_BATCHES = 40
_CHILD = "import sys; from tests.benchmarks import formats; formats.child(*sys.argv[1:])"

Write = Callable[[Path, Iterator[bytes]], None]
Read = Callable[[int], Any]
Open = Callable[[Path], tuple[int, Read]]
"""A folder to (number of images, reader by index)."""


def write_blobs(folder: Path, blobs: Iterator[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, offset = [], 0
    with (folder / "images.bin").open("wb") as file:
        for blob in blobs:
            file.write(blob)
            rows.append({"offset": offset, "length": len(blob), "crc32": zlib.crc32(blob)})
            offset += len(blob)
    pq.write_table(pa.Table.from_pylist(rows), folder / "index.parquet")


def open_blobs(folder: Path) -> tuple[int, Read]:
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "index.parquet")
    index = np.stack([table[name].to_numpy() for name in ("offset", "length", "crc32")], axis=1)
    with (folder / "images.bin").open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def read(row: int) -> memoryview:
        offset, length, crc32 = index[row]
        blob = data[offset : offset + length]
        assert zlib.crc32(blob) == crc32
        return blob

    return len(index), read


def write_arrow(folder: Path, blobs: Iterator[bytes]) -> None:
    import pyarrow as pa

    schema = pa.schema([("image", pa.large_binary())])
    with pa.OSFile(str(folder / "images.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for blob in blobs:
            writer.write_batch(pa.record_batch([pa.array([blob], pa.large_binary())], schema=schema))


def open_arrow(folder: Path) -> tuple[int, Read]:
    import pyarrow as pa

    reader = pa.ipc.open_file(pa.memory_map(str(folder / "images.arrow")))
    return reader.num_record_batches, lambda row: memoryview(reader.get_batch(row)["image"][0].as_buffer())


def write_datasets(folder: Path, blobs: Iterator[bytes]) -> None:
    from datasets import Dataset

    Dataset.from_dict({"image": list(blobs)}).save_to_disk(folder / "set")


def open_datasets(folder: Path) -> tuple[int, Read]:
    from datasets import load_from_disk

    dataset = load_from_disk(folder / "set")
    return len(dataset), lambda row: dataset[row]["image"]


def write_mds(folder: Path, blobs: Iterator[bytes]) -> None:
    from streaming import MDSWriter

    with MDSWriter(out=str(folder / "set"), columns={"image": "bytes"}, hashes=["xxh64"]) as writer:
        for blob in blobs:
            writer.write({"image": blob})


def open_mds(folder: Path) -> tuple[int, Read]:
    from streaming import LocalDataset

    dataset = LocalDataset(local=str(folder / "set"))
    return len(dataset), lambda row: dataset[row]["image"]


def write_litdata(folder: Path, blobs: Iterator[bytes]) -> None:
    from litdata.streaming.writer import BinaryWriter

    (folder / "set").mkdir()
    writer = BinaryWriter(str(folder / "set"), chunk_bytes="64MB")
    for number, blob in enumerate(blobs):
        writer.add_item(number, blob)
    writer.done()
    writer.merge()


def open_litdata(folder: Path) -> tuple[int, Read]:
    from litdata import StreamingDataset

    dataset = StreamingDataset(str(folder / "set"))
    return len(dataset), lambda row: dataset[row]


def write_tar(folder: Path, blobs: Iterator[bytes]) -> None:
    import webdataset

    with webdataset.TarWriter(str(folder / "images.tar")) as writer:
        for number, blob in enumerate(blobs):
            writer.write({"__key__": f"{number:06d}", "png": blob})


def open_tar(folder: Path) -> tuple[int, Read]:
    """Sequential by design: an image by its index is a scan of the file up to it."""
    import webdataset

    def samples() -> Any:
        return webdataset.WebDataset(str(folder / "images.tar"), shardshuffle=False, empty_check=False)

    def read(row: int) -> bytes:
        for place, sample in enumerate(samples()):
            if place == row:
                return bytes(sample["png"])
        raise IndexError(row)

    return sum(1 for _ in samples()), read


FORMATS: dict[str, tuple[str, Write, Open]] = {
    "ours": ("pyarrow", write_blobs, open_blobs),
    "Arrow IPC, memory map": ("pyarrow", write_arrow, open_arrow),
    "HF datasets": ("datasets", write_datasets, open_datasets),
    "Mosaic MDS": ("streaming", write_mds, open_mds),
    "LitData": ("litdata", write_litdata, open_litdata),
    "WebDataset tar": ("webdataset", write_tar, open_tar),
}


def child(name: str, source: str, folder: str, action: str) -> None:
    """One format in a process of its own; prints its figures, or is killed half way in writing."""
    module, write, open_folder = FORMATS[name]
    blobs = _read_source(Path(source))
    began = time.perf_counter()
    if module in ("streaming", "litdata"):
        import diffsensei.models  # noqa: F401  they import torchvision, which must be importable beside a CPU build
    __import__(module)
    figures: dict[str, float] = {"import": time.perf_counter() - began}
    if action == "kill":
        write(Path(folder), _killed_half_way(blobs))
    elif action == "survivors":
        figures["survivors"] = _survivors(open_folder, Path(folder), blobs)
    else:
        figures |= _measured(write, open_folder, Path(folder), blobs)
    print(json.dumps(figures))
    sys.stdout.flush()
    os._exit(0)  # some libraries leave threads behind


def _measured(write: Write, open_folder: Open, folder: Path, blobs: list[bytes]) -> dict[str, float]:
    figures = {}
    began = time.perf_counter()
    write(folder, iter(blobs))
    figures["write"] = time.perf_counter() - began
    figures["size"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / sum(map(len, blobs))
    began = time.perf_counter()
    count, read = open_folder(folder)
    figures["open"] = time.perf_counter() - began
    assert count == len(blobs)
    for row in (0, count // 2, count - 1):
        assert bytes(read(row)) == blobs[row]
    scans = 2 if open_folder is open_tar else NUM_BATCHES
    rows = np.random.default_rng(0).integers(0, count, (scans, BATCH)).tolist()
    for decode, name in ((False, "random"), (True, "decoded")):
        began = time.process_time()
        for batch in rows:
            for row in batch:
                blob = read(row)
                if decode:
                    cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_GRAYSCALE)
                else:
                    bytes(blob)
        figures[name] = (time.process_time() - began) / (scans * BATCH)
    figures["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def _killed_half_way(blobs: Sequence[bytes]) -> Iterator[bytes]:
    yield from blobs[: len(blobs) // 2]
    os.kill(os.getpid(), signal.SIGKILL)


def _survivors(open_folder: Open, folder: Path, blobs: Sequence[bytes]) -> float:
    try:
        count, read = open_folder(folder)
        return float(sum(bytes(read(row)) == blobs[row] for row in range(count)))
    except Exception:  # whatever the library raises on a half-written folder: nothing can be read through it
        return 0.0


def _read_source(path: Path) -> list[bytes]:
    with np.load(path) as stored:
        lengths, data = stored["lengths"], stored["data"].tobytes()
    ends = np.cumsum(lengths)
    return [data[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]


def _run(name: str, source: Path, folder: Path, action: str) -> dict[str, float] | str:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, name, str(source), str(folder), action], capture_output=True, text=True
    )
    if action != "kill" and done.returncode:
        return done.stderr.strip().splitlines()[-1]
    lines = done.stdout.strip().splitlines()
    figures: dict[str, float] = json.loads(lines[-1]) if lines else {}
    return figures


def main() -> None:
    from tests.benchmarks.pages import panel_set

    panels = panel_set()
    images = [panels.panel_image(row) for row in range(len(panels))]
    blobs = [cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes() for image in images] * COPIES
    table = Table(title=f"{len(blobs)} panels, {sum(map(len, blobs)) >> 20} MB of PNGs, in batches of {BATCH}")
    headings = ("format", "import, s", "write, s", "size", "open, ms", "random, us", "and decoded, us")
    for heading in (*headings, "peak, MB", "after a kill"):
        table.add_column(heading, justify="left" if heading == "format" else "right")
    with TemporaryDirectory() as root:
        source = Path(root) / "source.npz"
        np.savez(source, lengths=[len(blob) for blob in blobs], data=np.frombuffer(b"".join(blobs), np.uint8))
        for number, name in enumerate(FORMATS):
            folders = [Path(root) / f"{number} {action}" for action in ("whole", "killed")]
            for folder in folders:
                folder.mkdir()
            figures = _run(name, source, folders[0], "measure")
            if isinstance(figures, str):
                table.add_row(name, figures[:40])
                continue
            _run(name, source, folders[1], "kill")
            left = _run(name, source, folders[1], "survivors")
            table.add_row(
                name,
                f"{figures['import']:.2f}",
                f"{figures['write']:.2f}",
                f"{figures['size']:.4f}",
                f"{1e3 * figures['open']:.1f}",
                f"{1e6 * figures['random']:.0f}",
                f"{1e6 * figures['decoded']:.0f}",
                f"{figures['peak']:.0f}",
                "none" if isinstance(left, str) else f"{left['survivors']:.0f}",
            )
    Console(width=140).print(table)
    Console(width=140).print(_codecs(images))


def _codecs(images: Sequence[np.ndarray]) -> Table:
    """Panels one by one: what they are stored as."""
    table = Table(title=f"{len(images)} grey panels, one thread")
    for heading in ("codec", "bytes a pixel", "encode, ms", "decode, ms", "lossless"):
        table.add_column(heading, justify="left" if heading == "codec" else "right")
    codecs: dict[str, Callable[[np.ndarray], bytes]] = {
        f"PNG, zlib {level}": lambda image, level=level: _cv(".png", image, cv2.IMWRITE_PNG_COMPRESSION, level)
        for level in (0, 1, 3, 6, 9)
    }
    codecs["WebP lossless, method 0"] = lambda image: _webp(image, 0)
    codecs["WebP lossless, method 4"] = lambda image: _webp(image, 4)
    codecs["JPEG, quality 95"] = lambda image: _cv(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, 95)
    pixels = sum(image.size for image in images)
    for name, encode in codecs.items():
        began = time.process_time()
        blobs = [encode(image) for image in images]
        encoded = time.process_time() - began
        began = time.process_time()
        decoded = [cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_GRAYSCALE) for blob in blobs]
        took = time.process_time() - began
        same = all(np.array_equal(one, other) for one, other in zip(images, decoded, strict=True))
        table.add_row(
            name,
            f"{sum(map(len, blobs)) / pixels:.3f}",
            f"{1e3 * encoded / len(images):.2f}",
            f"{1e3 * took / len(images):.2f}",
            "yes" if same else "no",
        )
    return table


def _cv(suffix: str, image: np.ndarray, option: int, value: int) -> bytes:
    return cv2.imencode(suffix, image, [option, value])[1].tobytes()


def _webp(image: np.ndarray, method: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", lossless=True, method=method)
    return file.getvalue()
