"""Comic archives (CBZ, ZIP): members are streamed one by one under caps, and never written under their own names."""

import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
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

ARCHIVE_SUFFIXES = frozenset({".zip", ".cbz", ".rar", ".cbr", ".7z", ".cb7", ".tar", ".cbt", ".gz", ".xz"})
CHUNK = 1 << 16
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
ENCRYPTED = 0x1
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)
"""What the zipfile module raises on crafted or damaged members."""


@dataclass(frozen=True)
class ArchiveLimits:
    """Caps of one archive, all on what is really unpacked: the sizes that a directory states are not believed."""

    max_members: int = 20_000
    max_total_bytes: int = 16 * 2**30
    max_ratio: float = 200.0
    """Unpacked over packed size of a member; images are packed already and hardly shrink."""
    min_ratio_bytes: int = 2**20
    """Members that unpack to less are no bombs at any ratio."""


LIMITS = ArchiveLimits()


class Archive:
    """An open CBZ or ZIP file. Use as a context manager; what it offered can be read while it is open.

    Raises ValueError when the file is no ZIP archive, is damaged as a whole, or has too many members.
    """

    def __init__(self, path: Path, limits: ArchiveLimits = LIMITS) -> None:
        self._limits = limits
        self._unpacked = 0
        try:
            self._zip = zipfile.ZipFile(path)
        except BROKEN as error:
            raise ValueError(f"{path} is no readable ZIP or CBZ archive ({error}); pack its pages again") from None
        self._members = self._zip.infolist()
        if len(self._members) > limits.max_members:
            self._zip.close()
            raise ValueError(
                f"{path} has {len(self._members)} members; at most {limits.max_members} are read, split it"
            )

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def offer(self, skipped: Counter[str]) -> Iterator[Offered]:
        """The images in natural order of their names; ``skipped`` counts the members that are no pages, by why."""
        seen: set[str] = set()
        for number, member in enumerate(sorted(self._members, key=lambda m: natural_key(m.filename)), start=1):
            if member.filename.endswith("/"):
                continue
            if is_system_file(member.filename):
                skipped["hidden or system file"] += 1
                continue
            try:
                name = _judged_name(member)
                if (
                    PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES
                    and sniff_format(self._head(member)) is None
                ):
                    skipped["no image"] += 1
                    continue
                if name in seen:
                    raise Refusal("duplicate_name", f"{name!a} is there twice")
            except Refusal as refusal:
                yield refused(number, refusal)
                continue
            seen.add(name)
            yield Offered(name, lambda limit, member=member: self._read(member, limit))  # type: ignore[misc]

    def _head(self, member: zipfile.ZipInfo) -> bytes:
        try:
            with self._zip.open(member) as stream:
                return stream.read(HEAD_BYTES)
        except BROKEN as error:
            raise Refusal("broken_member", f"{member.filename!a}: {error}") from None

    def _read(self, member: zipfile.ZipInfo, limit: int) -> bytes:
        """The member's bytes, its checksum verified. Raises `Refusal`."""
        limits, data = self._limits, bytearray()
        try:
            with self._zip.open(member) as stream:
                while chunk := stream.read(CHUNK):
                    data += chunk
                    self._unpacked += len(chunk)
                    if len(data) > max(limits.min_ratio_bytes, limits.max_ratio * member.compress_size):
                        raise Refusal("zip_bomb", f"{member.filename!a}: {member.compress_size} bytes unpack to more "
                                      f"than {limits.max_ratio:g} times as many")  # fmt: skip
                    if len(data) > limit:
                        raise Refusal("too_large", f"{member.filename!a} exceeds {limit} bytes")
                    if self._unpacked > limits.max_total_bytes:
                        raise Refusal("archive_too_large", f"more than {limits.max_total_bytes} bytes unpacked")
        except BROKEN as error:
            raise Refusal("broken_member", f"{member.filename!a}: {error}") from None
        if len(data) < member.file_size:
            raise Refusal("broken_member", f"{member.filename!a}: {len(data)} of {member.file_size} bytes")
        return bytes(data)


def _judged_name(member: zipfile.ZipInfo) -> str:
    """The member's name where it is a plain file with an ordinary name, else a `Refusal`."""
    # zipfile cuts names at a NUL; what the archive says is in orig_filename.
    name = acceptable_name(member.orig_filename)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise Refusal("link_member", f"{name!a} is a symbolic link")
    if kind not in (0, stat.S_IFREG):
        raise Refusal("not_a_file", f"{name!a} is no regular file")
    if member.flag_bits & ENCRYPTED:
        raise Refusal("encrypted_member", f"{name!a}")
    if member.compress_type not in METHODS:
        raise Refusal("unknown_compression", f"{name!a}: method {member.compress_type}")
    if PurePosixPath(name).suffix.lower() in ARCHIVE_SUFFIXES:
        raise Refusal("nested_archive", f"{name!a}")
    return name
