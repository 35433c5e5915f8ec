"""Cut panels and crops equal what one would crop from the page; shards and tables address each other rightly."""

import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from diffsensei.config.schema import SplitConfig
from diffsensei.data.images import difference_hash, encode_png
from diffsensei.data.panels import cutting as panels_module
from diffsensei.data.panels.cutting import cut_evaluation_panels, cut_panels, pixel_bounds
from diffsensei.data.panels.panel_set import CROP_SCHEMA, PANEL_SCHEMA, PanelSet
from diffsensei.data.tables import BOX, write_table

NUM_PAGES = 7
HEIGHT, WIDTH = 90, 160


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables and pages as validation leaves them: panel 1 of each page was set aside."""
    folder = tmp_path_factory.mktemp("validated")
    (folder / "pages").mkdir()
    rng = np.random.default_rng(0)
    rows: dict[str, list[dict]] = {"pages": [], "panels": [], "characters": [], "dialogs": []}
    for page in range(NUM_PAGES):
        page_id = f"{page:016x}"
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
        pixels[: HEIGHT // 2, : 20 * page + 10] = 0
        (folder / "pages" / f"{page_id}.png").write_bytes(encode_png(pixels))
        rows["pages"].append(
            {
                "page_id": page_id,
                "image_path": f"s/c/{page}.png",
                "series": "s",
                "page_index": page,
                "height": HEIGHT,
                "width": WIDTH,
                "image_sha256": page_id,
                "dhash": f"{difference_hash(pixels) or 0:016x}",
                "chroma": 0.0,
                "rescaled": False,
                "sha256_1": "",
                "sha256_2": "",
            }
        )
        for index in (0, 2, 3):
            x1, y1 = rng.uniform(0, 60, 2)
            frame = [x1, y1 / 3, x1 + rng.uniform(30, 80), y1 / 3 + rng.uniform(20, 60)]
            key = {"page_id": page_id, "panel_id": f"{page_id}-{index}", "panel_index": index}
            rows["panels"].append(key | dict(zip(BOX, frame, strict=True)) | {"caption": f"panel {index}", "dhash": ""})
            ids = ["0", "1"] if index else ["0", "0", "2"]  # id 0 repeats in panel 0
            for place, name in enumerate(ids):
                box = [frame[0] + 3.3 * place, frame[1] - 2.0, frame[0] + 14.6 + place, frame[1] + 11.2]
                box[1] = max(box[1], 0.0)
                character = {"box_index": place + 1, "character_id": name, "type": place}
                rows["characters"].append(key | dict(zip(BOX, box, strict=True)) | character)
            dialog = [frame[0] + 1, frame[1] + 1, frame[0] + 9, frame[1] + 6]
            rows["dialogs"].append(key | dict(zip(BOX, dialog, strict=True)) | {"box_index": 0})
    for name, records in rows.items():
        write_table(name, pd.DataFrame(records), folder)
    return folder


@pytest.fixture(scope="module")
def cut(validated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output, workspace = tmp_path_factory.mktemp("output"), tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as executor:
        patch.setattr(panels_module, "MAX_SHARD_PAGES", 2)
        config = SplitConfig(eval_pages_per_series=2, min_panels=3)
        cut_panels(split=config, validated=validated, workspace=workspace, output=output, executor=executor)
    assert json.loads((workspace / "progress.json").read_text())["done"] == NUM_PAGES
    return output


def page_image(validated: Path, page_id: str) -> np.ndarray:
    from PIL import Image

    with Image.open(validated / "pages" / f"{page_id}.png") as image:
        return np.array(image)


@pytest.mark.parametrize("name", ["train", "eval"])
def test_images_equal_direct_crops(validated: Path, cut: Path, name: str) -> None:
    panel_set = PanelSet(cut / name)
    frames = pd.read_parquet(validated / "panels.parquet").set_index("panel_id")
    boxes = pd.read_parquet(validated / "characters.parquet")
    assert len(panel_set)
    for index, row in enumerate(panel_set.panels.itertuples()):
        x1, y1, x2, y2 = np.rint(frames.loc[row.panel_id, BOX].to_numpy(dtype=float)).astype(int)
        expected = page_image(validated, row.page_id)[max(y1, 0) : y2, max(x1, 0) : x2]
        np.testing.assert_array_equal(panel_set.panel_image(index), expected)
        assert (row.height, row.width) == expected.shape
    for index, row in enumerate(panel_set.crops.itertuples()):
        of_panel = boxes[boxes["panel_id"] == row.panel_id].iloc[row.character_index]
        x1, y1, x2, y2 = np.rint(of_panel[BOX].to_numpy(dtype=float)).astype(int)
        expected = page_image(validated, row.page_id)[y1:y2, x1:x2]
        np.testing.assert_array_equal(panel_set.crop_image(index), expected)
        assert (row.character_id, row.type) == (of_panel["character_id"], of_panel["type"])
        assert (row.height, row.width) == expected.shape


def test_tables(validated: Path, cut: Path) -> None:
    num_panels = num_crops = 0
    for name in ("train", "eval"):
        assert pq.read_schema(cut / name / "panels.parquet").equals(PANEL_SCHEMA)
        assert pq.read_schema(cut / name / "crops.parquet").equals(CROP_SCHEMA)
        panel_set = PanelSet(cut / name)
        assert panel_set.crops["crop_id"].tolist() == list(range(len(panel_set.crops)))
        num_panels, num_crops = num_panels + len(panel_set), num_crops + len(panel_set.crops)
        for row in panel_set.panels.itertuples():
            assert list(row.excluded_ids) == ["0"]
            for character in row.characters:
                relative, on_page = character["box"], character["page_box"]
                width, height = relative[2:] - relative[:2]
                assert width * row.width == pytest.approx(on_page[2] - on_page[0], rel=1e-4)
                assert height * row.height == pytest.approx(on_page[3] - on_page[1], rel=1e-4)
            assert len(row.dialogs) == 1
            assert 0 <= row.dialogs[0][0] < row.dialogs[0][2] <= 1
    assert num_panels == len(pd.read_parquet(validated / "panels.parquet"))
    assert num_crops == len(pd.read_parquet(validated / "characters.parquet"))
    split = json.loads((cut / "split.json").read_text())
    held_out = {page["page_id"] for page in split["eval"]}
    assert set(PanelSet(cut / "eval").panels["page_id"]) == held_out
    assert not set(PanelSet(cut / "train").panels["page_id"]) & held_out


def test_shards_hold_exactly_their_images(cut: Path) -> None:
    panel_set = PanelSet(cut / "train")
    rows = pd.concat([panel_set.panels, panel_set.crops])[["shard", "offset", "length"]]
    assert rows["shard"].nunique() == 3
    for shard, group in rows.groupby("shard"):
        ordered = group.sort_values("offset")
        ends = (ordered["offset"] + ordered["length"]).tolist()
        assert [0, *ends[:-1]] == ordered["offset"].tolist()
        assert (cut / "train" / f"images-{shard:05d}.bin").stat().st_size == ends[-1]


def test_reader_travels_to_other_processes(cut: Path) -> None:
    panel_set = PanelSet(cut / "train")
    image = panel_set.panel_image(3)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(panel_set)).panel_image(3), image)  # noqa: S301


def test_damage_is_named(cut: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no panel set"):
        PanelSet(tmp_path)
    for path in (cut / "train").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shard = tmp_path / "images-00000.bin"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"images-00000.bin is cut short"):
        PanelSet(tmp_path).panel_image(0)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_found_when_its_image_is_read(cut: Path, tmp_path: Path, place: float) -> None:
    shutil.copytree(cut / "train", tmp_path, dirs_exist_ok=True)
    panel_set = PanelSet(tmp_path)
    row = panel_set.panels.iloc[1]
    shard = tmp_path / f"images-{row.shard:05d}.bin"
    data = bytearray(shard.read_bytes())
    data[row.offset + int(place * row.length)] ^= 8
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{shard.name} is damaged at bytes {row.offset} to"):
        panel_set.panel_image(1)
    panel_set.panel_image(0)


def cut_again(validated: Path, workspace: Path, output: Path) -> dict[str, bytes]:
    output.mkdir()
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as executor:
        patch.setattr(panels_module, "MAX_SHARD_PAGES", 2)
        config = SplitConfig(eval_pages_per_series=2, min_panels=3)
        cut_panels(split=config, validated=validated, workspace=workspace, output=output, executor=executor)
    return {str(path.relative_to(output)): path.read_bytes() for path in sorted(output.rglob("*")) if path.is_file()}


def test_finished_shards_outlive_an_attempt_unless_damaged(
    validated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workspace").mkdir()
    first = cut_again(validated, tmp_path / "workspace", tmp_path / "first")
    shards = sorted((tmp_path / "workspace").rglob("*.bin"))
    assert len(shards) == 4
    damaged, torn = shards[0], shards[1]
    data = bytearray(damaged.read_bytes())
    data[50] ^= 1
    damaged.unlink()  # the output holds the same file
    damaged.write_bytes(data)
    torn.with_suffix(".json").write_text('{"plan": "')
    cut_pages = []
    real = panels_module._cut_page

    def counting(cuts: panels_module.PageCuts) -> list[bytes]:
        cut_pages.append(cuts.path)
        return real(cuts)

    monkeypatch.setattr(panels_module, "_cut_page", counting)
    assert cut_again(validated, tmp_path / "workspace", tmp_path / "second") == first
    assert len(cut_pages) == 4  # two shards of two pages
    assert not list((tmp_path / "workspace").rglob(".*"))


def test_pixel_bounds_stay_on_the_page_and_are_never_empty() -> None:
    boxes = np.array([[-3.0, -3.0, 5.4, 5.6], [10.2, 10.2, 10.3, 10.3], [158.9, 89.9, 170.0, 95.0], [159.8, 0, 160, 1]])
    bounds = pixel_bounds(boxes, HEIGHT, WIDTH)
    np.testing.assert_array_equal(bounds, [[0, 0, 5, 6], [10, 10, 11, 11], [159, 89, 160, 90], [159, 0, 160, 1]])


def cut_for_evaluation(validated: Path, folder: Path, **trained: Path) -> Path:
    folders = {name: folder / name for name in ("workspace", "output")}
    for made in folders.values():
        made.mkdir(parents=True)
    with ThreadPoolExecutor(1) as executor:
        cut_evaluation_panels(validated=validated, executor=executor, **folders, **trained)
    return folders["output"]


def test_data_that_is_only_evaluated_on_is_held_out_whole(validated: Path, tmp_path: Path) -> None:
    output = cut_for_evaluation(validated, tmp_path)
    assert len(PanelSet(output / "train")) == 0
    everything = pd.read_parquet(validated / "panels.parquet")
    assert len(PanelSet(output / "eval")) == len(everything)
    decision = json.loads((output / "split.json").read_text())
    assert {page["page_id"] for page in decision["eval"]} == set(everything["page_id"])


def test_a_page_that_is_trained_on_is_not_evaluated_on_as_another_data_set(
    validated: Path, cut: Path, tmp_path: Path
) -> None:
    """The same pages under other names: those held out of training may be evaluated on, the others not."""
    held_out = [page["page_id"] for page in json.loads((cut / "split.json").read_text())["eval"]]
    trained = {"trained_validated": validated, "trained_split": cut}

    def renamed(name: str, keep: list[str]) -> Path:
        shutil.copytree(validated, tmp_path / name)
        for path in (tmp_path / name).glob("*.parquet"):
            table = pd.read_parquet(path)
            table = table[table["page_id"].isin(keep)]
            if path.stem == "pages":
                table = table.assign(image_path="other/" + table["image_path"])
            write_table(path.stem, table, tmp_path / name)
        return tmp_path / name

    output = cut_for_evaluation(renamed("fit", held_out), tmp_path / "fit-work", **trained)
    assert set(PanelSet(output / "eval").panels["page_id"]) == set(held_out)
    everything = renamed("leaking", pd.read_parquet(validated / "pages.parquet")["page_id"].tolist())
    with pytest.raises(ValueError, match=r"'other/s/c/\d\.png' is to be evaluated on and is also trained on, as 's/c/"):
        cut_for_evaluation(everything, tmp_path / "leaking-work", **trained)
