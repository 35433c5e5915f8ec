"""An evaluation panel set of drawn panels, and small random judges on disk in the hub's formats."""

import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, ImageDraw

import diffsensei.models  # noqa: F401  (first: torchvision beside a CPU build of torch)
from diffsensei.config import load_preset
from diffsensei.config.schema import EvaluationConfig, JudgeConfig
from diffsensei.data.images import encode_png
from diffsensei.data.panels.panel_set import CROP_SCHEMA, PANEL_SCHEMA
from diffsensei.evaluation.benchmark import freeze_benchmark, read_benchmark, read_truth
from diffsensei.foundations.dialog_detector import Detections

torch.set_num_threads(1)

PANEL_SIZES = ((80, 80), (90, 100), (60, 130), (140, 70))
"""(height, width) of the panels of each page; the first is given."""
HEADS = ([0.05, 0.3, 0.45, 0.95], [0.55, 0.4, 0.9, 0.95])
BUBBLE = [0.5, 0.05, 0.95, 0.3]


def draw_panel(rng: np.random.Generator, height: int, width: int, heads, bubbles) -> np.ndarray:
    image = Image.fromarray(rng.integers(120, 200, size=(height, width), dtype=np.uint8))
    pen = ImageDraw.Draw(image)
    for box, fill in [(box, int(rng.integers(0, 90))) for box in heads] + [(box, 255) for box in bubbles]:
        pen.rectangle([v * s for v, s in zip(box, (width, height, width, height), strict=True)], fill=fill, outline=0)
    return np.asarray(image)


class WhiteAreaDetector:
    """Finds bubbles as the bounding box of pure white pixels: exact on drawn panels."""

    def detect(self, images, threshold):
        found = []
        for image in images:
            ys, xs = np.nonzero(image > 250)
            box = [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]] if len(xs) > 20 else np.zeros((0, 4))
            found.append(Detections(np.array(box, np.float32).reshape(-1, 4), np.ones(len(box), np.float32)))
        return found


@pytest.fixture
def panel_set(tmp_path) -> Path:
    """``eval/`` with 2 series x 2 pages x 4 panels. Panel 1 has character a, panel 2 a and b, 0 and 3 none.

    Crops: a in both panels (clean), b only as a type-1 crop, so b has no reference.
    """
    rng = np.random.default_rng(0)
    folder = tmp_path / "panels" / "eval"
    folder.mkdir(parents=True)
    blobs, panels, crops, offset = [], [], [], 0

    def store(image: np.ndarray) -> dict[str, int]:
        nonlocal offset
        blob = encode_png(image)
        address = {"shard": 0, "offset": offset, "length": len(blob), "crc32": zlib.crc32(blob)}
        blobs.append(blob)
        offset += len(blob)
        return address

    for page in range(4):
        page_id = f"{page:016x}"
        for index, (height, width) in enumerate(PANEL_SIZES):
            names = ([], ["a"], ["a", "b"])[index % 3]
            heads = HEADS[: len(names)]
            image = draw_panel(rng, height, width, heads, [BUBBLE] if index > 1 else [])
            characters = [
                {"id": name, "box": box, "page_box": [0, 0, 1, 1], "type": int(name == "b")}
                for name, box in zip(names, heads, strict=True)
            ]
            panels.append(
                {
                    "panel_id": f"{page_id}-{index}",
                    "page_id": page_id,
                    "series": f"series-{page % 2}",
                    "page_index": page,
                    "panel_index": index,
                    "height": height,
                    "width": width,
                    "caption": f"a person looks {('away', 'left', 'right', 'up')[index]}" if page else "",
                    "characters": characters,
                    "dialogs": [BUBBLE] if index > 1 else [],
                    "excluded_ids": [],
                }
                | store(image)
            )
            for slot, (name, box) in enumerate(zip(names, heads, strict=True)):
                x1, y1, x2, y2 = (int(v * s) for v, s in zip(box, (width, height, width, height), strict=True))
                crop = image[y1:y2, x1:x2]
                crops.append(
                    {
                        "crop_id": len(crops),
                        "page_id": page_id,
                        "character_id": name,
                        "panel_id": f"{page_id}-{index}",
                        "character_index": slot,
                        "type": int(name == "b"),
                        "height": crop.shape[0],
                        "width": crop.shape[1],
                    }
                    | store(crop)
                )
    (folder / "images-00000.bin").write_bytes(b"".join(blobs))
    for name, rows, schema in (("panels", panels, PANEL_SCHEMA), ("crops", crops, CROP_SCHEMA)):
        table = pa.Table.from_pandas(pd.DataFrame(rows), schema=schema, preserve_index=False)
        pq.write_table(table, folder / f"{name}.parquet")
    return folder.parent


@pytest.fixture(scope="session")
def judge_folders(tmp_path_factory) -> dict[str, str]:
    """Random CLIP and DINOv2 of a few thousand parameters, saved as the hub would."""
    from transformers import (
        BitImageProcessorPil,
        CLIPConfig,
        CLIPImageProcessorPil,
        CLIPModel,
        Dinov2Config,
        Dinov2Model,
    )

    from diffsensei.foundations.vocabulary import clip_tokenizer

    torch.manual_seed(0)
    base = tmp_path_factory.mktemp("judges")
    tokenizer = clip_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(base / "clip")
    tokenizer.save_pretrained(base / "clip")
    square = {"crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 32}}
    CLIPImageProcessorPil(**square).save_pretrained(base / "clip")
    Dinov2Model(
        Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8)
    ).save_pretrained(base / "dino")
    BitImageProcessorPil(**square).save_pretrained(base / "dino")
    return {"clip": str(base / "clip"), "dino": str(base / "dino")}


@pytest.fixture
def evaluation(judge_folders) -> EvaluationConfig:
    """tiny's evaluation with these judges and few resamples."""
    judges = JudgeConfig(
        clip=judge_folders["clip"],
        further_clip=(),
        dino=judge_folders["dino"],
        dialog_detector="embedded:judge_detector",
        fid_features=judge_folders["clip"],
        fit="squash",
    )
    return load_preset("tiny").evaluation.replaced(judges=judges, bootstrap_resamples=200)


METHODS = {
    "generate_sdxl_t2i": "sdxl_t2i",
    "generate_stage1": "diffsensei_stage1",
    "generate_diffsensei": "diffsensei",
}


@pytest.fixture
def benchmark(panel_set, tmp_path):
    config = load_preset("tiny")
    output = tmp_path / "benchmark"
    for folder in (output, tmp_path / "workspace"):
        folder.mkdir()
    freeze_benchmark(
        panel_size=config.evaluation.panel_size,
        max_characters=config.data.conditioning.max_characters,
        max_dialogs=config.data.conditioning.max_dialogs,
        min_reference_side=config.data.conditioning.min_reference_side,
        buckets=config.data.buckets,
        seed=0,
        panels=panel_set,
        workspace=tmp_path / "workspace",
        output=output,
    )
    return output


@pytest.fixture
def generated(benchmark, tmp_path):
    """sdxl_t2i drew noise, stage 1 the truth without bubbles, diffsensei the truth itself."""
    rng = np.random.default_rng(1)
    folders = {name: tmp_path / name for name in METHODS}
    for name, folder in folders.items():
        (folder / "images" / "0").mkdir(parents=True)
        for panel in read_benchmark(benchmark):
            truth = read_truth(benchmark, panel)
            image = {
                "generate_sdxl_t2i": rng.integers(0, 200, size=truth.shape, dtype=np.uint8),
                "generate_stage1": np.minimum(truth, 240),
                "generate_diffsensei": truth,
            }[name]
            Image.fromarray(image).save(folder / "images" / "0" / f"{panel.panel_id}.png")
        said = {"method": METHODS[name], "consumes": ["caption"], "deviations": ["None."]}
        (folder / "generation.json").write_text(json.dumps(said))
    return folders
