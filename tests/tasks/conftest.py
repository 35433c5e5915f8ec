"""Validated pages in a store, without any picture."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from diffsensei.data.tables import SCHEMAS, write_table
from infra.manifest import Origin
from infra.store import ObjectRef, Store

ValidatedPage = Callable[..., ObjectRef]


@pytest.fixture
def validated_page(tmp_path: Path) -> ValidatedPage:
    """Publishes a ``validate`` object that accepted these pages; the first: id aaaa..., images bbbb... and cccc...."""

    def publish(store: Store, *image_paths: str, inputs: dict[str, str] | None = None) -> ObjectRef:
        folder = tmp_path / f"validated-{image_paths[0].replace('/', '-')}"
        folder.mkdir()
        names = ((3 * place, image_path) for place, image_path in enumerate(image_paths))
        rows = [
            dict.fromkeys(SCHEMAS["pages"].names)
            | {
                "page_id": chr(ord("a") + first) * 16,
                "image_path": image_path,
                "sha256_1": chr(ord("b") + first) * 64,
                "sha256_2": chr(ord("c") + first) * 64,
            }
            for first, image_path in names
        ]
        write_table("pages", pd.DataFrame(rows), folder)
        return store.publish_object(folder, "validate", Origin(inputs=inputs or {}))

    return publish
