"""Reports under readable paths: each for good under its version, and the newest under ``latest``."""

import os
import shutil
import uuid
from pathlib import Path

from diffsensei.config.schema import ReleaseConfig
from infra.files import sync, sync_tree
from infra.settings import Settings
from infra.store import ObjectRef, Store
from tasks.releases import require_unburied

LATEST = "latest"


def open_store() -> Store:
    """The store that the environment names."""
    return Store(Settings().store)


def publish_report(store: Store, report: ObjectRef, release: ReleaseConfig) -> Path:
    """Copy the report to ``reports/<version>-<digest>/`` and let ``reports/latest`` point there; the path of its page.

    Doing it again changes nothing. Raises ValueError where the report shows a page that was taken down.
    """
    require_unburied(store, report)
    place = _publish(store, report, f"{release.name}-{release.version}-{report.digest[:12]}")
    _point(store.base / "reports" / LATEST, place)
    return place / "index.html"


def publish_page(store: Store, result: ObjectRef, release: ReleaseConfig, name: str) -> Path:
    """Copy a result with a page ``<name>.html`` to ``reports/<version>-<name>-<digest>/``; the path of that page.

    Raises ValueError where it shows a page that was taken down.
    """
    require_unburied(store, result)
    return _publish(store, result, f"{release.name}-{release.version}-{name}-{result.digest[:12]}") / f"{name}.html"


def latest_report() -> Path:
    """The newest report's page. Raises ValueError where none was made yet."""
    path = open_store().base / "reports" / LATEST / "index.html"
    if not path.is_file():
        raise ValueError(f"no report in {path.parent.parent} yet; make one with `diffsensei run full-pipeline`")
    return path


def _publish(store: Store, result: ObjectRef, name: str) -> Path:
    """A whole and durable copy of ``result`` at ``reports/<name>``, which is named by its content: made once."""
    store.verify(result, full=False)
    place = store.base / "reports" / name
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    staging = place.with_name(f".{name}.{uuid.uuid4().hex}")
    try:
        shutil.copytree(result.path, staging, copy_function=shutil.copyfile)
        sync_tree(staging)
        try:
            os.rename(staging, place)
        except OSError:
            if not place.is_dir():  # nobody else was faster
                raise
        sync(place.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return place


def _point(link: Path, place: Path) -> None:
    """Let ``link`` lead to its neighbour ``place``: readers find the old folder or the new one, at any moment."""
    staging = link.with_name(f".{link.name}.{uuid.uuid4().hex}")
    os.symlink(place.name, staging, target_is_directory=True)
    try:
        os.replace(staging, link)
    finally:
        staging.unlink(missing_ok=True)
    sync(link.parent)
