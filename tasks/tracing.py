"""Where a page went: panels, checkpoints, samples, releases and reports that used it, found downwards from its pixels.

A page is looked up in the columns of the validated tables; from the panel sets on, the store's lineage is walked once.
What is trained reads the training half of a panel set and the benchmark reads the held-out half, so a held-out page is
behind no weights, and a training page is behind no benchmark.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from diffsensei.data.page_paths import page_id_of
from diffsensei.data.tombstones import Tombstone, is_page_id, is_sha256, record_tombstone
from infra.lineage import Lineage
from infra.store import ObjectRef, Store
from tasks.releases import CHANNELS, VERSIONS
from tasks.tombstones import VALIDATED, tombstones_of

DOWNLOADED = "download"
PANELS = "panels"
BENCHMARK = "benchmark"
"""What kinds of objects end in: images as they came, cut panels, and the frozen benchmark."""

GROUPS = ("pages", "panel sets", "benchmarks", "checkpoints", "samples", "scores", "releases", "reports", "other")


@dataclass(frozen=True)
class Found:
    """A page as one validated table has it."""

    validated: ObjectRef
    page_id: str
    image_path: str
    sha256: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """What used a page. ``panels``: how many of its panels each panel set trains on and holds out."""

    asked: str
    pages: tuple[Found, ...]
    panels: dict[ObjectRef, tuple[int, int]]
    used: dict[str, tuple[ObjectRef, ...]]
    """Group (`GROUPS`) -> objects, sorted."""
    references: tuple[str, ...]
    """``channel/name`` of what points at any of them."""
    published: tuple[Path, ...]
    """Pages of results under their readable paths (`publication`)."""
    tombstone: Tombstone | None

    def lines(self) -> list[str]:
        """For a person to read."""
        if not self.pages:
            return [f"{self.asked}: in no validated page of this store"]
        first = self.pages[0]
        told = [f"page {first.page_id} {first.image_path}"]
        for ref, (trained, held_out) in self.panels.items():
            told.append(f"panels: {trained} trained on, {held_out} held out in {ref.kind} {ref.digest[:12]}")
        for group, refs in self.used.items():
            told += [f"{group}: {ref.kind} {ref.digest[:12]}  {ref.path}" for ref in refs]
        told += [f"reference: {name}" for name in self.references]
        told += [f"published page: {path}" for path in self.published]
        if self.tombstone is not None:
            told.append(f"taken down {self.tombstone.recorded:%Y-%m-%d}: {self.tombstone.reason}")
        return told


def trace_page(store: Store, asked: str) -> Trace:
    """What used the page that ``asked`` names: its image path, a url, its page id, or the sha256 of an image."""
    lineage = Lineage(store)
    pages = _find(lineage, asked)
    panels: dict[ObjectRef, tuple[int, int]] = {}
    used: set[ObjectRef] = {page.validated for page in pages}
    for ref, ids in _by_object(pages).items():
        for panel_set in sorted(lineage.users(ref), key=_order):
            if not panel_set.kind.endswith(PANELS):
                used |= lineage.downstream([panel_set])  # data quality in a report, provenance
                continue
            trained, held_out = (_num_panels(panel_set.path / half, ids) for half in ("train", "eval"))
            if not trained + held_out:
                continue  # other pages, compared with these
            used.add(panel_set)
            panels[panel_set] = (trained, held_out)
            for user in lineage.users(panel_set):
                if user.kind.endswith(PANELS):
                    continue  # reads which pages are trained on, and no panel
                reads = held_out if BENCHMARK in user.kind else trained
                if reads:
                    used |= lineage.downstream([user])
    return Trace(
        asked=asked,
        pages=tuple(pages),
        panels=panels,
        used=_grouped(used),
        references=tuple(_references(store, used)),
        published=tuple(_published(store, used)),
        tombstone=tombstones_of(store).find(
            [asked, page_id_of(asked), *(name for page in pages for name in (page.page_id, *page.sha256))]
        ),
    )


def bury_page(store: Store, asked: str, reason: str) -> Tombstone:
    """Take down the page that ``asked`` names, whether or not it is in the store yet.

    Raises ValueError without a reason.
    """
    pages = _find(Lineage(store), asked)
    unknown = not pages and not is_sha256(asked) and not is_page_id(asked) and "://" not in asked
    return record_tombstone(
        store.base / "tombstones",
        asked,
        reason,
        page_ids=[*(page.page_id for page in pages), *([page_id_of(asked)] if unknown else [])]
        + ([asked] if is_page_id(asked) else []),
        image_paths=[page.image_path for page in pages] + ([asked] if unknown else []),
        urls=[asked] if "://" in asked else [],
        sha256=[digest for page in pages for digest in page.sha256] + ([asked] if is_sha256(asked) else []),
    )


def _find(lineage: Lineage, asked: str) -> list[Found]:
    names = {asked, *_images_of_url(lineage, asked)}
    found = []
    for ref in sorted(lineage.manifests, key=_order):
        path = ref.path / "pages.parquet"
        if not ref.kind.endswith(VALIDATED) or not path.is_file():
            continue
        wanted = sorted(names)
        columns = ("page_id", "image_path", "image_sha256", "sha256_1", "sha256_2")
        rows = pq.read_table(path, columns=list(columns), filters=[[(column, "in", wanted)] for column in columns])
        for row in rows.to_pylist():
            images = tuple(row[column] for column in ("sha256_1", "sha256_2") if row[column])
            found.append(Found(ref, row["page_id"], row["image_path"], images))
    return found


def _images_of_url(lineage: Lineage, url: str) -> set[str]:
    """sha256 of what came from ``url``, in any download."""
    if "://" not in url:
        return set()
    images: set[str] = set()
    for ref in lineage.manifests:
        path = ref.path / "halves.parquet"
        if ref.kind.endswith(DOWNLOADED) and path.is_file():
            rows = pq.read_table(path, columns=["url", "sha256"], filters=[("url", "==", url)])
            images |= {digest for digest in rows["sha256"].to_pylist() if digest}
    return images


def _by_object(pages: Iterable[Found]) -> dict[ObjectRef, list[str]]:
    ids: dict[ObjectRef, list[str]] = {}
    for page in pages:
        ids.setdefault(page.validated, []).append(page.page_id)
    return ids


def _num_panels(half: Path, page_ids: Sequence[str]) -> int:
    path = half / "panels.parquet"
    if not path.is_file():
        return 0
    return int(pq.read_table(path, columns=["page_id"], filters=[("page_id", "in", list(page_ids))]).num_rows)


def _grouped(used: Iterable[ObjectRef]) -> dict[str, tuple[ObjectRef, ...]]:
    groups: dict[str, list[ObjectRef]] = {group: [] for group in GROUPS}
    for ref in sorted(used, key=_order):
        groups[_group(ref)].append(ref)
    return {group: tuple(refs) for group, refs in groups.items() if refs}


def _group(ref: ObjectRef) -> str:
    """By what lies in an object: kinds have many names."""
    marks = (
        ("pages.parquet", "pages"),
        ("split.json", "panel sets"),
        ("training.json", "checkpoints"),
        ("generation.json", "samples"),
        ("summary.json", "scores"),
        ("certificate.json", "releases"),
        ("index.html", "reports"),
    )
    if ref.kind == BENCHMARK:
        return "benchmarks"
    if (ref.path / "pipeline").is_dir():
        return "releases"
    return next((group for name, group in marks if (ref.path / name).is_file()), "other")


def _references(store: Store, used: set[ObjectRef]) -> list[str]:
    digests = {ref.digest for ref in used}
    return [
        f"{channel}/{name}"
        for channel in (*CHANNELS, VERSIONS)
        for name in store.refs.names(channel)
        if (ref := store.refs.read(channel, name)) is not None and ref.digest in digests
    ]


def _published(store: Store, used: set[ObjectRef]) -> list[Path]:
    ends = tuple(ref.digest[:12] for ref in used)
    return [path for path in sorted((store.base / "reports").glob("[!.]*")) if path.name.endswith(ends)]


def _order(ref: ObjectRef) -> tuple[str, str]:
    return ref.kind, ref.digest
