"""What an ``image_path`` may look like, and the names derived from it: page id and series.

The path comes from an annotation file of unknown origin. It is a name, never a place: files are stored by page id.
"""

import hashlib
import unicodedata

from diffsensei.data.refusal import Refusal

MAX_PATH_LENGTH = 512
MAX_PART_LENGTH = 255


def page_id_of(image_path: str) -> str:
    """16 hex digits that name the page in file names and tables."""
    return hashlib.sha256(image_path.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def series_of(image_path: str) -> str:
    """The first component: in MangaZero, the manga."""
    return image_path.partition("/")[0]


def check_image_path(image_path: str) -> None:
    """Raise `Refusal` ``bad_path`` unless the path is relative, normalised, printable and of ordinary length."""
    parts = image_path.split("/")
    fault = None
    if not image_path or len(image_path) > MAX_PATH_LENGTH:
        fault = f"{len(image_path)} characters"
    elif any(unicodedata.category(character) in ("Cc", "Cs") for character in image_path):
        fault = "control characters"
    elif unicodedata.normalize("NFC", image_path) != image_path:
        fault = "not in Unicode normal form C"
    elif "\\" in image_path or image_path.startswith(("/", "~")) or ":" in parts[0]:
        fault = "not a relative path"
    elif any(part in ("", ".", "..") for part in parts):
        fault = "not normalised"
    elif any(len(part.encode()) > MAX_PART_LENGTH for part in parts):
        fault = f"a component of more than {MAX_PART_LENGTH} bytes"
    if fault:
        raise Refusal("bad_path", f"{fault}: {image_path[:80]!a}")
