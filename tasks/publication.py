"""Pages of single results under readable paths, each for good under its version; reports: `tasks.report_site`."""

import os
import shutil
import uuid
from pathlib import Path

from diffsensei.config.schema import ReleaseConfig
from infra.files import sync, sync_tree
from infra.settings import Settings
from infra.store import ObjectRef, Store
from tasks.releases import require_unburied


def open_store() -> Store:
    """The store that the environment names."""
    return Store(Settings().store)


def publish_page(store: Store, result: ObjectRef, release: ReleaseConfig, name: str) -> Path:
    """Copy a result with a page ``<name>.html`` to ``reports/<version>-<name>-<digest>/``; the path of that page.

    Raises ValueError where it shows a page that was taken down.
    """
    require_unburied(store, result)
    return _publish(store, result, f"{release.name}-{release.version}-{name}-{result.digest[:12]}") / f"{name}.html"


def withdraw_page(place: Path) -> None:
    """Remove a folder that `publish_page` made, whole at once; what it was copied from stays."""
    aside = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    os.rename(place, aside)
    sync(place.parent)
    shutil.rmtree(aside)


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
