"""A folder of images, one's own: subfolders are chapters, names are sorted as people count."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from diffsensei.data.images import sniff_format
from diffsensei.data.refusal import Refusal
from diffsensei.data.sources.offered import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    Offered,
    acceptable_name,
    is_system_file,
    natural_key,
    refused,
)


def offer_folder(root: Path, skipped: Counter[str]) -> Iterator[Offered]:
    """The images below ``root`` in natural order; ``skipped`` counts the files that are no pages, by why.

    A file's content decides what it is, not its name. Links that lead out of ``root``, and linked folders, are refused.
    """
    for number, name in enumerate(_names(root), start=1):
        path = root / name
        if is_system_file(name):
            skipped["hidden or system file"] += 1
            continue
        try:
            if path.is_dir():
                raise Refusal("link_to_folder", f"{name!a} -> {os.readlink(path)!a}")
            expected = PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
            if not expected and sniff_format(read_inside(root, name, HEAD_BYTES, whole=False)) is None:
                skipped["no image"] += 1
                continue
            acceptable = acceptable_name(name)
        except Refusal as refusal:
            yield refused(number, refusal)
            continue
        yield Offered(acceptable, lambda limit, name=name: read_inside(root, name, limit))  # type: ignore[misc]


def _names(root: Path) -> list[str]:
    """Relative names of the files and linked folders below ``root``, with ``/`` between their parts."""
    names = []
    for folder, subfolders, files in os.walk(root):
        inner = Path(folder).relative_to(root)
        links = [name for name in subfolders if os.path.islink(os.path.join(folder, name))]
        names += [(inner / name).as_posix() for name in [*files, *links]]
    return sorted(names, key=natural_key)


def read_inside(root: Path, name: str, limit: int, *, whole: bool = True) -> bytes:
    """The bytes of the regular file ``root/name``; its first ``limit`` ones if not ``whole``.

    Raises `Refusal`: ``outside_folder`` when links lead out of ``root``, ``not_a_file``, ``too_large`` beyond ``limit``
    bytes, ``unreadable``, or ``no_such_file`` (missing).
    """
    try:
        place = (root / name).resolve(strict=True)
        if not place.is_relative_to(root.resolve()):
            raise Refusal("outside_folder", f"{name!a} -> {str(place)!a}")
        # Resolved paths have no links left; O_NOFOLLOW and O_NONBLOCK hold for what is put there in the meantime.
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refusal("not_a_file", f"{name!a} is no regular file")
            data = file.read(limit + 1 if whole else limit)
    except FileNotFoundError:
        raise Refusal("no_such_file", f"{name!a}", state="missing") from None
    except (OSError, RuntimeError, ValueError) as error:
        # ELOOP is a link put in the way; ValueError a NUL in the name, RuntimeError a circle of links.
        reason = "outside_folder" if getattr(error, "errno", None) == errno.ELOOP else "unreadable"
        raise Refusal(reason, f"{name!a}: {error}") from None
    if len(data) > limit:
        raise Refusal("too_large", f"{name!a} exceeds {limit} bytes")
    return data
