"""Text into the lines of a bubble: even lines that follow the ellipse; words are split only if nothing else is left."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_OPENING = "「『（【〈《"  # noqa: RUF001  full-width on purpose
_CLOSING = "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮー、。，．！？…‥・」』）】〉》々"  # noqa: RUF001
_WIDE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_PIECES = re.compile(
    # Ideographs and kana part anywhere, except that what closes stays behind and what opens goes along.
    rf"[{_OPENING}]*[{_WIDE}][{_CLOSING}]*|[^\s{_WIDE}{_OPENING}]+|[{_OPENING}]+"
)
_LEAST_SPLIT = 2
"""Letters of a word that stay on either side of a hyphen, at least."""


@dataclass(frozen=True)
class Piece:
    """A stretch of text that stays on one line."""

    text: str
    after: str
    """What stands between it and the next piece of its line: a space or nothing."""


def pieces_of(text: str) -> list[Piece]:
    """Words, and single ideographs or kana with the punctuation that belongs to them."""
    return [
        Piece(match.group(), " " if text[match.end() : match.end() + 1].isspace() else "")
        for match in _PIECES.finditer(text)
    ]


def break_lines(pieces: Sequence[Piece], widths: Sequence[float], measure: Callable[[str], float]) -> list[str] | None:
    """``pieces`` on exactly ``len(widths)`` lines, none wider than its width, or None if that cannot be.

    Of all ways the one whose lines fill their widths most evenly. Lengths in the unit of ``measure``.
    """
    sizes = [measure(piece.text) for piece in pieces]
    spaces = [measure(piece.after) if piece.after else 0.0 for piece in pieces]
    impossible = float("inf")
    # costs[k]: the least cost of the first k pieces on the lines so far; starts: where the last of them begins.
    costs = [0.0] + [impossible] * len(pieces)
    starts: list[list[int]] = []
    for width in widths:
        following, chosen = [impossible] * len(costs), [0] * len(costs)
        for start, cost in enumerate(costs[:-1]):
            if cost == impossible:
                continue
            length = 0.0
            for end in range(start, len(pieces)):
                length += sizes[end] + (spaces[end - 1] if end > start else 0.0)
                if length > width:
                    break
                total = cost + (1 - length / width) ** 2
                if total < following[end + 1]:
                    following[end + 1], chosen[end + 1] = total, start
        costs = following
        starts.append(chosen)
    if costs[-1] == impossible:
        return None
    lines: list[str] = []
    end = len(pieces)
    for chosen in reversed(starts):
        start = chosen[end]
        line = pieces[start:end]
        lines.insert(0, "".join(piece.text + piece.after for piece in line[:-1]) + line[-1].text)
        end = start
    return lines


def hyphenated(pieces: Sequence[Piece], width: float, measure: Callable[[str], float]) -> list[Piece]:
    """``pieces`` with every word wider than ``width`` split by hyphens into parts that are not, if letters allow."""
    parts: list[Piece] = []
    for piece in pieces:
        rest = piece.text
        while measure(rest) > width and len(rest) >= 2 * _LEAST_SPLIT:
            fitting = [
                end for end in range(_LEAST_SPLIT, len(rest) - _LEAST_SPLIT + 1) if measure(rest[:end] + "-") <= width
            ]
            end = fitting[-1] if fitting else _LEAST_SPLIT
            parts.append(Piece(rest[:end] + "-", ""))
            rest = rest[end:]
        parts.append(Piece(rest, piece.after))
    return parts
