"""What a run leaves for people: reports under a readable path, and the references that name releases."""

import os
import shutil
import uuid
from pathlib import Path

from diffsensei.config.schema import ReleaseConfig
from infra.settings import Settings
from infra.store import ObjectRef, Store
from tasks.events import announce_checkpoint

CANDIDATE = "candidate"
APPROVED = "approved"
RELEASED = "released"
PUBLISHED = (APPROVED, RELEASED)
"""The channels that others draw with: what enters one is announced."""


def open_store() -> Store:
    """The store that the environment names."""
    return Store(Settings().store)


def publish_report(store: Store, report: ObjectRef, release: ReleaseConfig) -> Path:
    """Copy the report to ``reports/<version>-<digest>/`` and ``reports/latest/``; the path of the former's page.

    Doing it again changes nothing.
    """
    reports = store.base / "reports"
    place = reports / f"{release.name}-{release.version}-{report.digest[:12]}"
    _replace(report.path, place)
    _replace(report.path, reports / "latest")
    return place / "index.html"


def publish_page(store: Store, result: ObjectRef, release: ReleaseConfig, name: str) -> Path:
    """Copy a result with a page ``<name>.html`` to ``reports/<version>-<name>-<digest>/``; the path of that page."""
    place = store.base / "reports" / f"{release.name}-{release.version}-{name}-{result.digest[:12]}"
    _replace(result.path, place)
    return place / f"{name}.html"


def latest_report() -> Path:
    """The newest report's page. Raises ValueError where none was made yet."""
    path = open_store().base / "reports" / "latest" / "index.html"
    if not path.is_file():
        raise ValueError(f"no report in {path.parent.parent} yet; make one with `diffsensei run full-pipeline`")
    return path


def move_reference(store: Store, channel: str, release: ReleaseConfig, bundle: ObjectRef, reason: str) -> None:
    """Let ``channel`` point at the bundle under the release's name; a no-op where it does already."""
    current = store.refs.read(channel, release.name)
    ref = store.refs.move(
        channel, release.name, bundle.kind, bundle.digest, expected=current.digest if current else None, reason=reason
    )
    if channel in PUBLISHED and ref != current:
        announce_checkpoint(ref)


def released_bundle(store: Store, release: ReleaseConfig) -> Path:
    """The folder of the bundle released under the release's name. Raises ValueError where there is none."""
    moved = store.refs.read(RELEASED, release.name)
    if moved is None:
        known = ", ".join(store.refs.names(RELEASED)) or "none"
        raise ValueError(f"no {release.name} is released (released: {known}); run `diffsensei run release`")
    return store.object(moved.kind, moved.digest).path


def _replace(source: Path, target: Path) -> None:
    """Make ``target`` a copy of ``source``; a reader finds the old one or the new one, never half of either."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    shutil.copytree(source, staging, copy_function=shutil.copyfile)
    if target.exists():
        aside = target.with_name(f".{target.name}.old.{uuid.uuid4().hex}")
        os.rename(target, aside)
        os.rename(staging, target)
        shutil.rmtree(aside)
    else:
        os.rename(staging, target)
