"""Checkpoints of the reference code become what our own stages write and read."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from diffsensei.config.presets import tiny
from diffsensei.config.schema import CORRECTED, REFERENCE, FidelityConfig, ModelConfig
from diffsensei.foundations.loading import load_llm
from diffsensei.methods.assembly import load_resampler
from diffsensei.models.identity_adapter import load_adapter
from diffsensei.models.unet import add_manga_conditions, load_unet
from diffsensei.released.checkpoints import import_checkpoint
from diffsensei.released.imports import import_language_model

CHARACTERS = 4


@pytest.fixture(scope="session")
def llm(release: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release's Llama and tokenizer in one folder, as a foundation."""
    folder = tmp_path_factory.mktemp("foundations") / "llm"
    import_language_model(release.folder / "mllm" / "llm", release.folder / "mllm" / "tokenizer", folder)
    return folder


@pytest.fixture
def model(llm: Path) -> ModelConfig:
    """What the tensors do not show."""
    config = tiny().model
    return config.replaced(
        unet={
            "block_out_channels": (32, 64),
            "transformer_layers_per_block": (0, 1),
            "layers_per_block": 1,
            "attention_head_dim": (2, 4),
            "addition_time_embed_dim": 8,
        },
        resampler=config.resampler.replaced(head_dim=64).model_dump(),
        adapter=config.adapter.replaced(resampler_heads=32, lora_alpha=8.0).model_dump(),
        foundations=config.foundations.replaced(llm=str(llm)).model_dump(),
    )


def stock(release: Any) -> dict[str, torch.Tensor]:
    return {name: t for name, t in release.unet.items() if "_ip." not in name and "dialog" not in name}


def test_pretraining_gives_a_unet_to_which_stage_1_adds_its_conditions(
    release: Any, model: ModelConfig, tmp_path: Path
) -> None:
    trained = {f"module.{name}": nn.Parameter(tensor) for name, tensor in stock(release).items()}
    torch.save({"unet_trained": trained}, tmp_path / "ckpt.pth")
    assert import_checkpoint(tmp_path / "ckpt.pth", model, CHARACTERS, tmp_path / "out") == [tmp_path / "out" / "unet"]
    unet = load_unet(tmp_path / "out" / "unet")
    for name, tensor in unet.state_dict().items():
        assert torch.equal(tensor, release.unet[name]), name
    add_manga_conditions(unet, 4)


def test_stage_1_gives_unet_and_resampler(release: Any, model: ModelConfig, tmp_path: Path) -> None:
    torch.save({"image_proj": release.resampler, "unet_trained": release.unet}, tmp_path / "ckpt.pth")
    folders = import_checkpoint(tmp_path / "ckpt.pth", model, CHARACTERS, tmp_path / "stage1")
    assert [folder.name for folder in folders] == ["resampler", "unet"]
    unet, resampler = load_unet(tmp_path / "stage1" / "unet"), load_resampler(tmp_path / "stage1" / "resampler")
    assert unet.config["manga_conditions"] == {
        "num_queries": 4,
        "max_characters": 4,
        "mask": "reference",
        "characters": "mask",
        "dialogs": "mask",
    }
    recorded = {name: resampler.config[name] for name in ("heads", "magi_patches", "empty_slots")}
    assert recorded == {"heads": 2, "magi_patches": "masked", "empty_slots": "resampled"}
    for network, written in ((unet, release.unet), (resampler, release.resampler)):
        assert all(torch.equal(tensor, written[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("fidelity", [REFERENCE, CORRECTED])
def test_stage_1_records_how_it_is_to_run_and_for_how_many_characters(
    release: Any, model: ModelConfig, tmp_path: Path, fidelity: FidelityConfig
) -> None:
    """Whatever ``model.fidelity`` says of training to come."""
    assert model.fidelity == CORRECTED
    torch.save({"image_proj": release.resampler, "unet_trained": release.unet}, tmp_path / "ckpt.pth")
    import_checkpoint(tmp_path / "ckpt.pth", model, 9, tmp_path / "stage1", fidelity=fidelity)
    unet, resampler = load_unet(tmp_path / "stage1" / "unet"), load_resampler(tmp_path / "stage1" / "resampler")
    conditions = unet.config["manga_conditions"]
    assert (conditions["mask"], conditions["max_characters"]) == (fidelity.mask, 9)
    assert resampler.config["magi_patches"] == fidelity.magi_patches
    assert resampler.config["empty_slots"] == fidelity.empty_slots


def test_stage_2_gives_an_adapter_and_the_llama_it_belongs_to(
    release: Any, changes_of_rank: Any, model: ModelConfig, tmp_path: Path
) -> None:
    """Merged, it is base + alpha / r B A everywhere, with the trained norms, embedding and head."""
    base = "llm.base_model.model"
    learnt = changes_of_rank(2)
    tables = {
        name: release.llm[name] + torch.randn_like(release.llm[name])
        for name in ("model.embed_tokens.weight", "lm_head.weight")
    }
    resamplers = {name: tensor for name, tensor in release.agent.items() if "pos_embed" not in name}
    flat = learnt | resamplers | {f"{base}.{name}": tensor for name, tensor in tables.items()}
    torch.save({f"module.{name}": tensor for name, tensor in flat.items()}, tmp_path / "ckpt.pth")
    folders = import_checkpoint(tmp_path / "ckpt.pth", model, CHARACTERS, tmp_path / "stage2")
    assert [folder.name for folder in folders] == ["adapter", "llm"]

    adapter = load_adapter(tmp_path / "stage2" / "adapter", load_llm(str(tmp_path / "stage2" / "llm")))
    assert adapter.config.lora_rank == 2
    assert adapter.config.lora_alpha == 8.0
    assert adapter.shape == {"num_characters": 4, "num_queries": 4, "token_dim": 32}
    for name, tensor in resamplers.items():
        assert torch.equal(adapter.agent.state_dict()[name], tensor), name
    merged = adapter.merged_llm().state_dict()
    for name, tensor in tables.items():
        assert torch.equal(merged[name], tensor), name
    for name in ("self_attn.k_proj", "mlp.gate_proj"):
        layer = f"model.layers.1.{name}"
        down, up = (learnt[f"{base}.{layer}.lora_{half}.default.weight"] for half in "AB")
        torch.testing.assert_close(merged[f"{layer}.weight"], release.llm[f"{layer}.weight"] + 4.0 * up @ down)
    norm = learnt[f"{base}.model.layers.0.input_layernorm.modules_to_save.default.weight"]
    assert torch.equal(merged["model.layers.0.input_layernorm.weight"], norm)


def test_without_trained_tables_the_llama_stays_where_it_is(
    release: Any, changes_of_rank: Any, model: ModelConfig, llm: Path, tmp_path: Path
) -> None:
    torch.save(changes_of_rank(2) | release.agent, tmp_path / "ckpt.pth")
    folders = import_checkpoint(tmp_path / "ckpt.pth", model, CHARACTERS, tmp_path / "stage2")
    assert [folder.name for folder in folders] == ["adapter"]
    merged = load_adapter(folders[0], load_llm(str(llm))).merged_llm().state_dict()
    assert torch.equal(merged["lm_head.weight"], release.llm["lm_head.weight"])


def norms_in(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Trained norms by the Llama's names."""
    infix, base = ".modules_to_save.default", "llm.base_model.model."
    return {name.replace(infix, "").removeprefix(base): tensor for name, tensor in state.items() if infix in name}


@pytest.mark.parametrize("rows", [True, False])
def test_norms_lie_beneath_an_adapter_that_trains_none(
    release: Any, changes_of_rank: Any, model: ModelConfig, tmp_path: Path, rows: bool
) -> None:
    """The merged language model is the same either way."""
    learnt = changes_of_rank(2)
    torch.save(learnt | release.agent, tmp_path / "ckpt.pth")
    sparse = model.adapter.replaced(train_norms=False, train_image_tokens=rows)
    import_checkpoint(tmp_path / "ckpt.pth", model, CHARACTERS, tmp_path / "full")
    folders = import_checkpoint(
        tmp_path / "ckpt.pth", model.replaced(adapter=sparse.model_dump()), CHARACTERS, tmp_path / "sparse"
    )
    assert [folder.name for folder in folders] == ["adapter", "llm"]
    beneath = load_llm(str(tmp_path / "sparse" / "llm"))
    state = beneath.model.state_dict()
    assert len(norms_in(learnt)) == 5
    assert all(torch.equal(state[name], tensor) for name, tensor in norms_in(learnt).items())
    adapter = load_adapter(tmp_path / "sparse" / "adapter", beneath)
    assert not adapter.config.train_norms
    merged = adapter.merged_llm().state_dict()
    full = load_adapter(tmp_path / "full" / "adapter", load_llm(model.foundations.llm)).merged_llm().state_dict()
    assert merged.keys() == full.keys()
    for name, tensor in full.items():
        assert torch.equal(merged[name], tensor), name


def test_a_checkpoint_that_trained_no_norms_needs_an_adapter_that_trains_none(
    release: Any, changes_of_rank: Any, model: ModelConfig, llm: Path, tmp_path: Path
) -> None:
    factors = {name: tensor for name, tensor in changes_of_rank(2).items() if "lora_" in name}
    torch.save(factors | release.agent, tmp_path / "ckpt.pth")
    with pytest.raises(ValueError, match=r"5 missing: model\.layers\.0\.input_layernorm\.weight"):
        import_checkpoint(tmp_path / "ckpt.pth", model, CHARACTERS, tmp_path / "stage2")
    bare = model.replaced(adapter=model.adapter.replaced(train_norms=False).model_dump())
    folders = import_checkpoint(tmp_path / "ckpt.pth", bare, CHARACTERS, tmp_path / "stage2")
    assert [folder.name for folder in folders] == ["adapter"]
    merged = load_adapter(folders[0], load_llm(str(llm))).merged_llm().state_dict()
    assert torch.equal(merged["model.norm.weight"], release.llm["model.norm.weight"])


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda r: {"unet_trained": {n: t for n, t in r.unet.items() if "_ip." in n}},
            "expected a tensor add_embedding",
        ),
        (lambda r: {"unet_trained": r.unet}, r"9 unexpected: dialog_bbox_embedding, "),
        (lambda r: {"unet_trained": stock(r), "image_proj": r.resampler}, r"9 missing: dialog_bbox_embedding, "),
        (lambda r: {"unet_trained": stock(r), "optimizer": {}}, "1 unexpected: optimizer"),
        (lambda r: {"unet_trained": [1]}, "expected a dict of tensors, got list"),
        (lambda r: r.agent, "found neither unet_trained nor LoRA factors"),
        (lambda r: {"anything": torch.zeros(1)}, "1 unexpected: anything"),
        (
            lambda r: r.agent | {k: v for k, v in r.learnt.items() if ".norm." not in k},
            r"1 missing: model\.norm\.weight",
        ),
        (lambda r: r.agent | {k: v for k, v in r.learnt.items() if "up_proj" not in k}, r"4 missing: model\.layers\.0"),
    ],
)
def test_what_is_no_such_checkpoint_is_refused_and_leaves_nothing(
    release: Any, changes_of_rank: Any, model: ModelConfig, tmp_path: Path, build: Any, said: str
) -> None:
    known = SimpleNamespace(
        unet=release.unet, resampler=release.resampler, agent=release.agent, learnt=changes_of_rank(2)
    )
    torch.save(build(known), tmp_path / "ckpt.pth")
    with pytest.raises(ValueError, match=said) as error:
        import_checkpoint(tmp_path / "ckpt.pth", model, CHARACTERS, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt.pth"]


def test_a_llama_in_pickled_shards_becomes_a_foundation(release: Any, tmp_path: Path) -> None:
    """SEED-X's has no tokenizer beside it; half precision stays half precision."""
    source = Path(shutil.copytree(release.folder / "mllm" / "llm", tmp_path / "llm"))
    for path in source.glob("model*"):
        path.unlink()
    torch.save({name: tensor.half() for name, tensor in release.llm.items()}, source / "pytorch_model.bin")
    tokenizer = release.folder / "mllm" / "tokenizer"
    import_language_model(source, tokenizer, tmp_path / "foundation")
    loaded = load_llm(str(tmp_path / "foundation"), dtype=torch.float16)
    assert loaded.model.lm_head.weight.dtype == torch.float16
    assert torch.equal(loaded.model.lm_head.weight, release.llm["lm_head.weight"].half())
    assert loaded.tokenizer.convert_tokens_to_ids("<img_00003>") == 279


def test_a_tokenizer_larger_than_the_llama_is_refused(release: Any, tmp_path: Path) -> None:
    source = Path(shutil.copytree(release.folder / "mllm", tmp_path / "mllm"))
    added = source / "tokenizer" / "added_tokens.json"
    added.write_text(added.read_text().replace("{", '{"<more>": 293, ', 1))
    with pytest.raises(ValueError, match="expected at most 293 tokens"):
        import_language_model(source / "llm", source / "tokenizer", tmp_path / "foundation")
