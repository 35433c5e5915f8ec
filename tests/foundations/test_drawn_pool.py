from pathlib import Path

import numpy as np

from diffsensei.foundations.drawn_pool import LARGE_BUCKETS, PoolPanel, bucket_panels, crops, pool
from diffsensei.foundations.recipes import PoolRecipe


def test_read_back_as_drawn(panels: list[PoolPanel], pool_folder: Path) -> None:
    again = pool(PoolRecipe(seed=5, num_series=5, pages_per_series=2), pool_folder)
    assert len(again) == len(panels) > 20
    for one, other in zip(panels, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert (one.caption, one.dialogs, one.characters) == (other.caption, other.dialogs, other.characters)


def test_every_panel_is_in_one_bucket_with_its_caption(panels: list[PoolPanel]) -> None:
    buckets = bucket_panels(panels)
    assert sum(len(bucket.images) for bucket in buckets) == len(panels)
    assert sorted(c for bucket in buckets for c in bucket.captions) == sorted(p.caption for p in panels)
    assert all(3500 <= bucket.images[0].size <= 5000 for bucket in buckets)
    assert {bucket.images[0].size for bucket in bucket_panels(panels, LARGE_BUCKETS)} <= set(range(14000, 20000))


def test_dialogs_follow_the_pixels(panels: list[PoolPanel]) -> None:
    """Bubbles are white inside: the middle of each fitted box is brighter than panels are on average."""
    inside, everywhere = [], []
    for bucket in bucket_panels(panels):
        for image, boxes in zip(bucket.images, bucket.dialogs, strict=True):
            everywhere.append(image.mean())
            for x1, y1, x2, y2 in boxes:
                middle = image[int(max(y1, 0)) : int(y2), int(max(x1, 0)) : int(x2)]
                if middle.size:
                    inside.append(np.median(middle))
    assert np.mean(inside) > np.mean(everywhere) + 30


def test_crops_are_their_characters_pixels(panels: list[PoolPanel]) -> None:
    found = crops(panels)
    assert found
    assert min(min(crop.image.shape) for crop in found) >= 12
    panel = next(panel for panel in panels if len(panel.characters) == 1)
    x1, y1, x2, y2 = (int(v) for v in panel.characters[0].box)
    np.testing.assert_array_equal(crops([panel])[0].image, panel.image[y1:y2, x1:x2])
