"""Masks and embeddings written the plain way: box by box, cell by cell or slice by slice, with Python numbers.

What the vectorised code is compared with, for equality in tests and for speed in benchmarks.
"""

import math

import torch
from torch import Tensor

Box = tuple[float, float, float, float]


def reference_size(cells: int, latents: tuple[int, int]) -> tuple[int, int]:
    """(height, width) as the reference code guesses it, step by step."""
    width = int(math.sqrt(cells / (latents[0] / latents[1])))
    height = cells // width
    while height * width != cells:
        width += 1 if height * width < cells else -1
        height = cells // width
    return height, width


def reference_attention_mask(
    boxes: Tensor, level: tuple[int, int], latents: tuple[int, int], num_queries: int, heads: int
) -> Tensor:
    """(B * heads, L, (1 + N) * Q) additive: 0 where a position attends, -10000 elsewhere; ``boxes`` (B, N, 4), zeros
    in padding slots. Rebuilt like this by every layer of the reference code."""
    height, width = reference_size(math.prod(level), latents)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    x, y = x.flatten(), y.flatten()
    batch, slots = boxes.shape[:2]
    mask = torch.full((batch, height * width, (1 + slots) * num_queries), -10000.0)
    for row in range(batch):
        covered = torch.zeros(height * width, dtype=torch.bool)
        for slot in range(slots):
            x1, y1, x2, y2 = boxes[row, slot]
            inside = (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
            covered |= inside
            start = (1 + slot) * num_queries
            mask[row, inside, start : start + num_queries] = 0.0
        mask[row, ~covered, :num_queries] = 0.0
    return mask.repeat_interleave(heads, dim=0)


def exact_attention_mask(boxes: Tensor, exists: Tensor, level: tuple[int, int], num_queries: int) -> Tensor:
    """(B, L, (1 + N) * Q) bool: which tokens the cells of a ``level`` attend to, by the centres of the cells."""
    height, width = level
    batch, slots = exists.shape
    mask = torch.zeros(batch, height * width, (1 + slots) * num_queries, dtype=torch.bool)
    for row in range(batch):
        for y in range(height):
            for x in range(width):
                owners = [
                    slot
                    for slot in range(slots)
                    if exists[row, slot] and _covers_centre(boxes[row, slot].tolist(), y, x, height, width)
                ]
                for group in [owner + 1 for owner in owners] or [0]:
                    mask[row, y * width + x, group * num_queries : (group + 1) * num_queries] = True
    return mask


def _covers_centre(box: list[float], y: int, x: int, height: int, width: int) -> bool:
    x1, y1, x2, y2 = (min(max(edge, 0.0), 1.0) for edge in box)
    return x1 < x2 and y1 < y2 and x in _held(x1, x2, width) and y in _held(y1, y2, height)


def _held(low: float, high: float, count: int) -> list[int]:
    held = [cell for cell in range(count) if low * count <= cell + 0.5 < high * count]
    return held or [min(int((low + high) / 2 * count), count - 1)]


def add_dialog_embedding(features: Tensor, boxes: Tensor, embedding: Tensor) -> Tensor:
    """``features`` (B, C, h, w) with ``embedding`` (C,) added once inside every box of ``boxes`` (B, M, 4)."""
    height, width = features.shape[-2:]
    drawn = torch.zeros_like(features)
    for row in range(len(boxes)):
        for box in boxes[row]:
            x1, x2 = (min(max(int(edge * width), 0), width) for edge in (box[0], box[2]))
            y1, y2 = (min(max(int(edge * height), 0), height) for edge in (box[1], box[3]))
            drawn[row, :, y1:y2, x1:x2] = embedding[:, None, None]
    return features + drawn
