"""Qwen-VL's tower: published sizes, a second computation of a tiny one, and refusals."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from diffsensei.baselines.seed_story.qwen_visual import QwenTower, QwenVisual
from diffsensei.baselines.seed_story.visual import load_visual
from diffsensei.models.agent_resampler import grid_positions

WIDTH, LAYERS, HEADS, PATCH, POSITIONS, TOKENS, DIM = 32, 2, 16, 2, 4, 4, 128
CPU = torch.device("cpu")


def state() -> dict[str, Tensor]:
    """Names as published, tensors at random."""
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (WIDTH, 3, PATCH, PATCH),
        "positional_embedding": (POSITIONS, WIDTH),
        "proj": (DIM, DIM),
        "attn_pool.query": (TOKENS, DIM),
        "attn_pool.kv_proj.weight": (DIM, WIDTH),
        "attn_pool.attn.in_proj_weight": (3 * DIM, DIM),
        "attn_pool.attn.in_proj_bias": (3 * DIM,),
        "attn_pool.attn.out_proj.weight": (DIM, DIM),
        "attn_pool.attn.out_proj.bias": (DIM,),
    }
    norms = {"ln_pre": WIDTH, "ln_post": DIM, "attn_pool.ln_q": DIM, "attn_pool.ln_kv": DIM}
    for layer in range(LAYERS):
        at = f"transformer.resblocks.{layer}"
        norms |= {f"{at}.ln_1": WIDTH, f"{at}.ln_2": WIDTH}
        linears = {"attn.in_proj": (3 * WIDTH, WIDTH), "attn.out_proj": (WIDTH, WIDTH)}
        linears |= {"mlp.c_fc": (48, WIDTH), "mlp.c_proj": (WIDTH, 48)}
        for name, shape in linears.items():
            shapes |= {f"{at}.{name}.weight": shape, f"{at}.{name}.bias": shape[:1]}
    for name, width in norms.items():
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()} | {
        "attn_pool.pos_embed": grid_positions(TOKENS, DIM)
    }


def by_hand(s: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """One image (3, 8, 8), head by head."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"], 1e-6)

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]

    def grid(table: Tensor, side: int) -> Tensor:
        old = round(len(table) ** 0.5)
        image = table.T.reshape(1, -1, old, old)
        return F.interpolate(image, (side, side), mode="bicubic", align_corners=False)[0].flatten(1).T

    patches = pixels.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH)
    side = patches.shape[1]
    x = patches.permute(1, 2, 0, 3, 4).reshape(side * side, -1) @ s["conv1.weight"].flatten(1).T
    x = norm(x + grid(s["positional_embedding"], side), "ln_pre")
    size = WIDTH // HEADS
    for layer in range(LAYERS):
        at = f"transformer.resblocks.{layer}"
        packed = linear(norm(x, f"{at}.ln_1"), f"{at}.attn.in_proj").reshape(len(x), HEADS, 3, size)
        heads = []
        for head in range(HEADS):
            q, k, v = packed[:, head].unbind(1)
            heads.append((q @ k.T / size**0.5).softmax(-1) @ v)
        x = x + linear(torch.cat(heads, -1), f"{at}.attn.out_proj")
        x = x + linear(F.gelu(linear(norm(x, f"{at}.ln_2"), f"{at}.mlp.c_fc")), f"{at}.mlp.c_proj")
    kept = norm(x @ s["attn_pool.kv_proj.weight"].T, "attn_pool.ln_kv")
    query = norm(s["attn_pool.query"], "attn_pool.ln_q") + s["attn_pool.pos_embed"]
    weights, biases = s["attn_pool.attn.in_proj_weight"].chunk(3), s["attn_pool.attn.in_proj_bias"].chunk(3)
    given = query, kept + grid(s["attn_pool.pos_embed"], side), kept
    q, k, v = (x @ w.T + b for x, w, b in zip(given, weights, biases, strict=True))
    pooled = linear((q @ k.T / DIM**0.5).softmax(-1) @ v, "attn_pool.attn.out_proj")
    return norm(pooled, "ln_post") @ s["proj"]


def test_it_computes_what_is_published(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "qwen_vit_G.pt")
    for reference in (tmp_path, tmp_path / "qwen_vit_G.pt"):
        visual = load_visual(str(reference), torch.float32, CPU)
        assert isinstance(visual, QwenVisual)
        assert (visual.side, visual.num_tokens, visual.dim, visual.deviations) == (8, TOKENS, DIM, ())
        torch.testing.assert_close(visual.blank(), by_hand(state(), torch.zeros(3, 8, 8)), rtol=1e-3, atol=1e-4)
        images = torch.randint(0, 256, (2, 8, 8), dtype=torch.uint8)
        pixels = (images[1] / 255 - torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]) / torch.tensor(
            [0.26862954, 0.26130258, 0.27577711]
        )[:, None, None]
        torch.testing.assert_close(visual.encode(images)[1], by_hand(state(), pixels), rtol=1e-3, atol=1e-4)


def write_qwen(folder: Path, ending: str) -> None:
    """Qwen-VL as published: a language model in shards, the tower spread over two of them."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen", "visual": {"patch_size": PATCH}}))
    named = {f"transformer.visual.{name}": tensor for name, tensor in state().items()}
    half = len(named) // 2
    parts = [dict(list(named.items())[:half]), dict(list(named.items())[half:]), {}]
    for number, part in enumerate(parts):
        part[f"transformer.h.{number}.mlp.weight"] = torch.zeros(2, 2)
    name, write = {
        "bin": ("pytorch_model.bin", torch.save),
        "safetensors": ("model.safetensors", save_file),
    }[ending]
    stem = name.removesuffix(f".{ending}")
    shards = {f"{stem}-0000{number + 1}-of-00003.{ending}": part for number, part in enumerate(parts)}
    for shard, part in shards.items():
        write(part, folder / shard)
    weight_map = {key: shard for shard, part in shards.items() for key in part}
    (folder / f"{name}.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
def test_it_is_found_inside_qwen_vl(tmp_path: Path, ending: str) -> None:
    torch.save(state(), tmp_path / "qwen_vit_G.pt")
    own = load_visual(str(tmp_path), torch.float32, CPU)
    write_qwen(tmp_path / "Qwen-VL-Chat", ending)
    found = load_visual(str(tmp_path / "Qwen-VL-Chat"), torch.float32, CPU)
    assert isinstance(found, QwenVisual)
    assert torch.equal(found.blank(), own.blank())


def test_of_the_hub_only_the_shards_with_the_tower_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the hub's own cache, without a network: the shard that has nothing of the tower is not there."""
    write_qwen(tmp_path / "written", "bin")
    cached = tmp_path / "cache" / "models--Qwen--Qwen-VL-Chat"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    shutil.copytree(tmp_path / "written", cached / "snapshots" / ("0" * 40))
    (cached / "snapshots" / ("0" * 40) / "pytorch_model-00003-of-00003.bin").unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    found = load_visual("Qwen/Qwen-VL-Chat", torch.float32, CPU)
    assert isinstance(found, QwenVisual)
    whole = load_visual(str(tmp_path / "written"), torch.float32, CPU)
    assert torch.equal(found.blank(), whole.blank())


@pytest.mark.parametrize("fault", ["shard", "index", "tensor"])
def test_what_is_lacking_in_qwen_vl_is_told_in_one_line(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "Qwen-VL-Chat"
    write_qwen(folder, "bin")
    first = folder / "pytorch_model-00001-of-00003.bin"
    if fault == "shard":
        first.unlink()
    elif fault == "index":
        (folder / "pytorch_model.bin.index.json").unlink()
    else:
        torch.save(dict(list(torch.load(first).items())[1:]), first)
    with pytest.raises(ValueError, match=r"download") as refused:
        load_visual(str(folder), torch.float32, CPU)
    assert "\n" not in str(refused.value)


def test_in_bfloat16_features_are_float(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "qwen_vit_G.pt")
    features = load_visual(str(tmp_path), torch.bfloat16, CPU).blank()
    assert features.dtype == torch.float32
    assert features.isfinite().all()


def test_published_size() -> None:
    with torch.device("meta"):
        tower = QwenTower(
            width=1664, layers=48, heads=16, inner=8192, patch=14, positions=256, num_tokens=256, dim=4096
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in tower.state_dict().items()}
    assert shapes["transformer.resblocks.47.attn.in_proj.weight"] == (4992, 1664)
    assert shapes["attn_pool.pos_embed"] == (256, 4096)
    assert QwenVisual(tower).side == 448
    assert round(sum(parameter.numel() for parameter in tower.parameters()) / 1e7) / 100 == pytest.approx(
        1.94, abs=0.02
    )


@pytest.mark.parametrize("fault", ["missing", "left over", "another shape", "heads"])
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    tensors = state()
    if fault == "missing":
        del tensors["ln_post.bias"]
    elif fault == "left over":
        tensors["more"] = torch.zeros(1)
    elif fault == "another shape":
        tensors["proj"] = tensors["proj"][:1]
    else:
        tensors["attn_pool.query"] = tensors["attn_pool.query"][:, :100]
    torch.save(tensors, tmp_path / "qwen.pt")
    with pytest.raises(ValueError, match=r"qwen\.pt") as refused:
        load_visual(str(tmp_path / "qwen.pt"), torch.float32, CPU)
    assert "\n" not in str(refused.value)
