"""An annotation file of any size, in the shape of MangaZero: long captions, two characters and a dialog a panel."""

import json
from pathlib import Path

import numpy as np

PANELS_PER_PAGE = (7, 8, 9, 10)
"""On average 8.6, which makes 430,000 panels of 50,000 pages."""
SHARES = (0.1, 0.35, 0.4, 0.15)
CAPTION = (
    "a black and white manga panel depicts young woman man with long dark hair wearing school uniform standing in "
    "front of window looking at surprised expression speech bubble the background shows city street night their face"
)
WORDS = CAPTION.split()


def write_large(path: Path, num_pages: int, seed: int = 0) -> int:
    """Write ``num_pages`` pages; the number of their panels."""
    rng = np.random.default_rng(seed)
    total = 0
    with path.open("w") as file:
        for index in range(num_pages):
            count = int(rng.choice(PANELS_PER_PAGE, p=SHARES))
            total += count
            file.write("[\n" if index == 0 else ",\n")
            json.dump(_page(rng, index, count), file)
        file.write("\n]")
    return total


def _page(rng: np.random.Generator, index: int, count: int) -> dict:
    """Panels in two columns a half, right half first, rows from the top."""
    frames = []
    for place in range(count):
        half, rank = (1, place) if place < count / 2 else (0, place - (count + 1) // 2)
        x, y = 850 * half + 50 + 400 * (1 - rank % 2), 50 + 380 * (rank // 2)
        jitter = rng.random(4).round(3) * 10
        box = [float(edge) for edge in np.array([x, y, x + 370, y + 350]) + jitter]
        characters = [
            {"id": int(rng.integers(4)), "bbox": [left, box[1] + 60, left + 120.25, box[3] - 9], "type": 0}
            for left in (box[0] + 20, box[0] + 170)[: int(rng.integers(1, 4))]
        ]
        dialogs = [{"bbox": [box[0] + 200.5, box[1] + 10.25, box[0] + 330.75, box[1] + 90.125]}] * int(rng.integers(3))
        words = rng.integers(len(WORDS), size=int(rng.integers(40, 90)))
        caption = " ".join(WORDS[word] for word in words)
        frames.append({"bbox": box, "caption": caption, "characters": characters, "dialogs": dialogs})
    meta = {f"url{n}": f"https://uploads.invalid/data/{index:032x}/{n}-{index:064x}.png" for n in (1, 2)}
    path = f"series-{index % 48:02d}/chapter-{index // 480:03d}/{index:05d}.jpg"
    return {"image_path": path, "frames": frames, "meta": meta | {"width1": 850, "width2": 850}}
