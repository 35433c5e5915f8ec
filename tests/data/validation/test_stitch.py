"""Two halves become the page that the boxes were drawn on, or a named mismatch."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from diffsensei.data.images import decode_own_png, encode_png
from diffsensei.data.refusal import Refusal
from diffsensei.data.sandbox import Limits
from diffsensei.data.validation import stitch as stitch_module
from diffsensei.data.validation.stitch import StitchTask, fit_widths, stitch, stitch_batch
from tests.data import poison


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def test_left_is_first_top_aligned_on_black() -> None:
    left, right = noise(30, 20), noise(40, 25, seed=1)
    page = stitch(left, right)
    assert page.shape == (40, 45)
    np.testing.assert_array_equal(page[:30, :20], left)
    np.testing.assert_array_equal(page[:, 20:], right)
    assert not page[30:, :20].any()


def test_annotated_widths_leave_pixels_alone() -> None:
    halves = [noise(30, 20), noise(40, 25)]
    fitted = fit_widths(halves, [20, 25], lowest_edge=1000.0)
    assert all(new is old for new, old in zip(fitted, halves, strict=True))


@pytest.mark.parametrize("ratio", [0.5, 2 / 3, 2.0])
def test_a_known_ratio_is_scaled_back(ratio: float) -> None:
    original = cv2.GaussianBlur(noise(180, 120), (0, 0), 4)
    other = noise(180, 120, seed=1)
    rescaled = cv2.resize(original, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
    fitted = fit_widths([rescaled, other], [120, 120], lowest_edge=180.0)
    assert fitted[0].shape == original.shape
    assert np.abs(fitted[0].astype(int) - original).mean() < 3
    assert fitted[1] is other


@pytest.mark.parametrize(
    ("widths", "lowest_edge"),
    [((100, 120), 10.0), ((0, 120), 10.0), ((-60, 120), 10.0), ((240, 240), 900.0)],
    ids=["odd ratio", "zero", "negative", "boxes below the page"],
)
def test_what_cannot_be_explained_is_a_mismatch(widths: tuple[int, int], lowest_edge: float) -> None:
    with pytest.raises(Refusal, match="geometry_mismatch") as caught:
        fit_widths([noise(180, 120), noise(180, 120)], widths, lowest_edge=lowest_edge)
    assert "120x180" in caught.value.evidence


def test_a_batch_reports_each_page_and_raises_nothing(tmp_path: Path) -> None:
    good, broken, absent = tmp_path / "good", tmp_path / "broken", tmp_path / "absent"
    pixels = noise(180, 120)
    good.write_bytes(encode_png(pixels))
    broken.write_bytes(encode_png(pixels)[:100])
    files = {"fine": (good, good), "cut": (good, broken), "gone": (absent, good)}
    tasks = [StitchTask(name, halves, (120, 120), 0.0) for name, halves in files.items()]
    fine, cut, gone = stitch_batch(tasks, tmp_path, 1.0)
    assert (fine.reason, fine.height, fine.width, fine.rescaled) == ("", 180, 240, False)
    np.testing.assert_array_equal(decode_own_png((tmp_path / "fine.png").read_bytes()), np.hstack([pixels, pixels]))
    assert cut.reason in ("truncated_image", "broken_image")
    assert gone.reason == "lost_object"
    assert not (tmp_path / "cut.png").exists()


def half(folder: Path, name: str = "half", seed: int = 0) -> Path:
    path = folder / name
    path.write_bytes(encode_png(noise(180, 120, seed)))
    return path


def test_a_poisonous_page_is_refused_and_its_neighbours_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stitch_module, "_stitch_file", poison.stitch_or_die)
    names = ["fine", "segfault", "also fine", "spin", "eat", "sleep", "at last"]
    tasks = [StitchTask(name, (half(tmp_path),), (120,), 0.0) for name in names]
    outcomes = stitch_batch(tasks, tmp_path, 1.0, Limits(memory_mb=256, cpu_s=1, wall_s=5.0))
    reasons = {outcome.page_id: outcome.reason for outcome in outcomes}
    assert reasons == {
        "fine": "",
        "segfault": "decoder_died",
        "also fine": "",
        "spin": "decoder_timeout",
        "eat": "decoder_out_of_memory",
        "sleep": "decoder_timeout",
        "at last": "",
    }
    assert not list(tmp_path.glob("*.json"))  # may be the machine's fault: the next attempt tries again


def test_a_page_larger_than_the_memory_allowed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(encode_png(np.zeros((9000, 9000), np.uint8)))
    (outcome,) = stitch_batch([StitchTask("large", (path,), (9000,), 0.0)], tmp_path, 100.0, Limits(memory_mb=60))
    assert outcome.reason == "decoder_out_of_memory"


def test_a_finished_batch_is_not_stitched_again_unless_damaged(tmp_path: Path) -> None:
    tasks = [StitchTask(f"page{seed}", (half(tmp_path, f"half{seed}", seed),), (120,), 0.0) for seed in range(3)]
    first = stitch_batch(tasks, tmp_path, 1.0)
    pages = [tmp_path / f"page{seed}.png" for seed in range(3)]
    written = [path.stat().st_mtime_ns for path in pages]
    assert stitch_batch(tasks, tmp_path, 1.0) == first
    assert [path.stat().st_mtime_ns for path in pages] == written
    whole = pages[1].read_bytes()
    pages[1].write_bytes(whole[:-1])
    assert stitch_batch(tasks, tmp_path, 1.0) == first
    assert pages[1].read_bytes() == whole
    stitch_batch(tasks, tmp_path, 2.0)  # another call
    assert len(list(tmp_path.glob("*.json"))) == 2
