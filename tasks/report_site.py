"""The site that people browse: every published report as a version, put together in ``<store>/site``.

    index.html                  all versions, with a trend per metric
    v/<id>/                     a version as its report stage made it; only ``data/status.js`` is written anew
    assets/                     pictures of all versions, each once
    compare/<a>__<b>.html,json  two versions compared; consecutive ones always

Files of versions are hard links into the store where the filesystem has them. Each file and each version's folder
appears whole; two flows that end at once take turns.
"""

import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from diffsensei.config.schema import ReleaseConfig
from infra.files import locked, write_text
from infra.store import ObjectRef, Store
from reports.diff_page import diff_page
from reports.site_shell import render_site_page
from reports.status import NAME as STATUS
from reports.status import Neighbour, Staleness, Status, differences_of, status_text
from reports.version_diff import VersionDiff, compare_versions
from reports.version_index import Listed, Withdrawn, consecutive, diff_address, index_view
from reports.versions import Version, read_version
from tasks.publication import open_store
from tasks.published_reports import CHANNEL, PublishedReports, read_published_reports
from tasks.releases import CHANNELS, require_unburied
from tasks.stages.reporting import PICTURES, SITE
from tasks.staleness import find_staleness

MAX_CHECKED = 20
"""Versions that are looked through for stale figures, the newest: each takes a plan, about a second."""
TOO_OLD = Staleness("unknown", f"Only the {MAX_CHECKED} newest versions are checked for stale figures.", {})


@dataclass(frozen=True)
class Site:
    """The site of ``store``."""

    store: Store

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.store.base / SITE

    @property
    def index(self) -> Path:
        """Its first page."""
        return self.folder / "index.html"

    def versions(self) -> set[str]:
        """Ids of the versions in it."""
        return {folder.name for folder in (self.folder / "v").glob("[!.]*")}

    def version_folder(self, name: str) -> Path:
        """Of one version."""
        return self.folder / "v" / name


def publish_version(store: Store, report: ObjectRef, release: ReleaseConfig) -> Path:
    """Make the report a version of the site and bring the site up to date; the path of the version's first page.

    Doing it again with the same report changes nothing but what is said of how versions stand to each other. Raises
    ValueError where the report shows a page that was taken down.
    """
    require_unburied(store, report)
    name = f"{release.name}-{release.version}-{report.digest[:12]}"
    store.refs.move(CHANNEL, name, report.kind, report.digest, expected=None, reason="published")
    site = assemble_site(store)
    return site.version_folder(name) / "index.html"


def assemble_site(store: Store) -> Site:
    """Bring the site up to date with the references of ``store``. Raises ValueError where no report was ever published.

    What may no longer be seen goes first: whatever fails later, it is gone.
    """
    site = Site(store)
    with locked(store.base / "site.lock"):
        reports = read_published_reports(store)
        _drop_all_but(site, {ref.name for ref, _ in reports.shown})
        if not reports.shown and not reports.withdrawn:
            raise ValueError(f"no report in {store.base} yet; make one with `diffsensei run full-pipeline`")
        for ref, report in reports.shown:
            _place(site, ref.name, report)
        listed = _listed(site, reports)
        diffs = {(a.id, b.id): _diff(site, a, b) for a, b in consecutive(listed)}
        _write_statuses(site, listed, diffs)
        _write_index(site, listed, diffs, reports.withdrawn)
    return site


def built_site() -> Site:
    """The site of the store that the environment names. Raises ValueError where none was made yet."""
    site = Site(open_store())
    if not site.index.is_file():
        raise ValueError(f"no report in {site.folder} yet; make one with `diffsensei run full-pipeline`")
    return site


def find_version(site: Site, wanted: str) -> str:
    """The id of the version that ``wanted`` names: an id, the start of its digest, or ``latest``.

    Raises ValueError where none does, or several do, listing the known ones.
    """
    return read_published_reports(site.store).find(wanted)


def compare(site: Site, first: str, second: str) -> tuple[Path, VersionDiff]:
    """Compare two versions (`find_version`): the page, and what it shows. Raises ValueError for one and the same."""
    a, b = find_version(site, first), find_version(site, second)
    if a == b:
        raise ValueError(f"{first!r} and {second!r} are the same version, {a}; name two")
    with locked(site.store.base / "site.lock"):
        listed = {entry.id: entry for entry in _listed(site, read_published_reports(site.store))}
        diff = _diff(site, listed[a], listed[b])
    # The first page leads to it from now on.
    assemble_site(site.store)
    return site.folder / diff_address(a, b), diff


# ---------------------------------------------------------------- versions


def _listed(site: Site, reports: PublishedReports) -> list[Listed]:
    """Shown versions, oldest first."""
    found = []
    for age, (ref, report) in enumerate(reversed(reports.shown)):
        version = read_version(report.path)
        checked = find_staleness(version, site.store) if age < MAX_CHECKED else TOO_OLD
        found.append(Listed(ref.name, version, ref.moved, checked, _channels(version, site.store)))
    return found[::-1]


def _channels(version: Version, store: Store) -> tuple[str, ...]:
    bundle = version.stages.get("bundle")
    for channel in reversed(CHANNELS):
        moved = store.refs.read(channel, version.name)
        if bundle is not None and moved is not None and moved.digest == bundle.digest:
            return (channel,)
    return ()


def _place(site: Site, name: str, report: ObjectRef) -> None:
    """Put the version's files into the site, unless they are there."""
    target = site.version_folder(name)
    if target.is_dir():
        return
    staging = target.with_name(f".{name}.{uuid.uuid4().hex}")
    shared = site.folder / PICTURES
    shared.mkdir(parents=True, exist_ok=True)
    try:
        for path in report.path.rglob("*"):
            inside = path.relative_to(report.path)
            if not path.is_file() or inside.as_posix() == f"data/{STATUS}.js":
                continue
            place = staging / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            source = path
            if inside.parent.as_posix() == PICTURES:
                # Named after what they hold: equal pictures of two versions become one file.
                source = shared / inside.name
                if not source.is_file():
                    _link(path, source)
            _link(source, place)
        os.rename(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """``target`` is the same file as ``source``, or a copy where there are no hard links; whole or not at all."""
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        shutil.copyfile(source, partial)
        os.replace(partial, target)


def _drop_all_but(site: Site, known: set[str]) -> None:
    """Versions that are no longer published or stored leave the site, with pictures that only they showed."""
    for folder in (site.folder / "v").glob("*"):
        if folder.name not in known:
            shutil.rmtree(folder)
    for path in (site.folder / "compare").glob("*__*.*"):
        if not set(path.stem.split("__")) <= known:
            path.unlink()
    # Not by the number of links: the store keeps the report's own files, and some filesystems have no links.
    shown = {name for folder in (site.folder / "v").glob(f"*/{PICTURES}") for name in os.listdir(folder)}
    shared = site.folder / PICTURES
    for name in os.listdir(shared) if shared.is_dir() else ():
        if name not in shown:
            (shared / name).unlink()


# ---------------------------------------------------------------- pages


def _diff(site: Site, first: Listed, second: Listed) -> VersionDiff:
    """The comparison; versions never change, so it is computed once. Its page is there afterwards."""
    page = site.folder / diff_address(first.id, second.id)
    record = page.with_suffix(".json")
    diff = _read_diff(record)
    if diff is None:
        folders = [site.version_folder(entry.id) for entry in (first, second)]
        diff = compare_versions(first.version, folders[0], second.version, folders[1])
        record.parent.mkdir(parents=True, exist_ok=True)
        write_text(record, diff.model_dump_json(indent=1))
    _write_if_changed(page, diff_page(first, second, diff, site.folder))
    return diff


def _read_diff(record: Path) -> VersionDiff | None:
    try:
        return VersionDiff.model_validate_json(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValidationError:  # an earlier program's
        return None


def _write_statuses(site: Site, listed: list[Listed], diffs: dict[tuple[str, str], VersionDiff]) -> None:
    newest = {entry.version.name: entry for entry in listed}
    before = {b.id: a for a, b in consecutive(listed)}
    for entry in listed:
        previous, last = before.get(entry.id), newest[entry.version.name]
        status = Status(
            home="../../index.html",
            staleness=entry.staleness,
            previous=None if previous is None else Neighbour(previous.label, f"../{previous.id}/index.html"),
            newer=None if last is entry else Neighbour(last.label, f"../{last.id}/index.html"),
            diff="" if previous is None else f"../../{diff_address(previous.id, entry.id)}",
            differences={} if previous is None else differences_of(diffs[previous.id, entry.id]),
        )
        _write_if_changed(site.version_folder(entry.id) / "data" / f"{STATUS}.js", status_text(status))


def _write_index(
    site: Site, listed: list[Listed], diffs: dict[tuple[str, str], VersionDiff], withdrawn: Sequence[Withdrawn]
) -> None:
    known = {entry.id for entry in listed}
    found = [tuple(path.stem.split("__")) for path in sorted((site.folder / "compare").glob("*__*.html"))]
    pairs = [(first, second) for first, second in found if {first, second} <= known]
    _write_if_changed(site.index, render_site_page("versions.html.j2", index_view(listed, diffs, pairs, withdrawn)))


def _write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
