"""Validated pages in a store, without any picture."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from diffsensei.data.tables import SCHEMAS, write_table
from infra.store import ObjectRef, Store

ValidatedPage = Callable[..., ObjectRef]


@pytest.fixture
def validated_page(tmp_path: Path) -> ValidatedPage:
    """Publishes a ``validate`` object that accepted one page, of id aaaa... and images bbbb... and cccc...."""

    def publish(store: Store, image_path: str) -> ObjectRef:
        folder = tmp_path / f"validated-{image_path.replace('/', '-')}"
        folder.mkdir()
        row = dict.fromkeys(SCHEMAS["pages"].names)
        row |= {"page_id": "a" * 16, "image_path": image_path, "sha256_1": "b" * 64, "sha256_2": "c" * 64}
        write_table("pages", pd.DataFrame([row]), folder)
        return store.publish_object(folder, "validate")

    return publish
