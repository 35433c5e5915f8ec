"""The conditioned UNet against the stock one, its masks, its gradients, its files and the paper's sizes."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from diffsensei.config.presets import paper
from diffsensei.config.schema import UNetConfig
from diffsensei.models.conditions import Conditions, Layout
from diffsensei.models.unet import (
    add_manga_conditions,
    build_unet,
    load_unet,
    noise_predictor,
    predict_noise,
    save_unet,
)

WIDTH, POOLED, QUERIES, SLOTS, DIALOGS = 16, 8, 2, 3, 2
CONFIG = UNetConfig(
    block_out_channels=(32, 64),
    transformer_layers_per_block=(0, 1),
    layers_per_block=1,
    attention_head_dim=(2, 4),
    addition_time_embed_dim=8,
)


def small_unet(config: UNetConfig = CONFIG, manga: bool = True) -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = build_unet(config, in_channels=4, cross_attention_dim=WIDTH, pooled_dim=POOLED)
    if manga:
        add_manga_conditions(unet, QUERIES)
    return unet.eval()


def some_conditions(batch: int = 2, exists: bool = True) -> Conditions:
    torch.manual_seed(1)
    layout = Layout(
        character_boxes=torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0], [0.3, 0.1, 0.6, 0.4]]] * batch),
        character_exists=torch.full((batch, SLOTS), exists),
        dialog_boxes=torch.tensor([[[0.5, 0.0, 1.0, 0.5], [0.0, 0.0, 0.2, 0.2]]] * batch),
        dialog_exists=torch.full((batch, DIALOGS), exists),
    )
    return Conditions(
        text_tokens=torch.randn(batch, 5, WIDTH),
        pooled_text=torch.randn(batch, POOLED),
        time_ids=torch.tensor([[64.0, 48.0, 0.0, 0.0, 64.0, 48.0]] * batch),
        character_tokens=torch.randn(batch, QUERIES * (1 + SLOTS), WIDTH),
        layout=layout,
    )


def some_latents(batch: int = 2, height: int = 8, width: int = 6) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.randn(batch, 4, height, width), torch.tensor([10, 900][:batch])


def character_weights(unet: UNet2DConditionModel) -> list[torch.nn.Parameter]:
    return [weight for name, weight in unet.named_parameters() if "_ip." in name]


def test_without_layout_it_is_the_stock_unet() -> None:
    conditions, (latents, timesteps) = some_conditions(), some_latents()
    plain = Conditions(conditions.text_tokens, conditions.pooled_text, conditions.time_ids)
    with torch.no_grad():
        stock = small_unet(manga=False)(
            latents,
            timesteps,
            conditions.text_tokens,
            added_cond_kwargs={"text_embeds": conditions.pooled_text, "time_ids": conditions.time_ids},
        ).sample
        torch.testing.assert_close(predict_noise(small_unet(), latents, timesteps, plain), stock)


def test_zero_values_and_zero_dialog_embedding_leave_the_stock_unet() -> None:
    conditions, (latents, timesteps) = some_conditions(), some_latents()
    unet = small_unet()
    plain = Conditions(conditions.text_tokens, conditions.pooled_text, conditions.time_ids)
    with torch.no_grad():
        expected = predict_noise(unet, latents, timesteps, plain)
        assert not torch.allclose(predict_noise(unet, latents, timesteps, conditions), expected)
        unet.dialog_bbox_embedding.zero_()
        for name, weight in unet.named_parameters():
            if name.endswith("to_v_ip.weight"):
                weight.zero_()
        torch.testing.assert_close(predict_noise(unet, latents, timesteps, conditions), expected)


def test_character_keys_and_values_start_as_the_text_ones() -> None:
    state = small_unet().state_dict()
    copies = {name: weight for name, weight in state.items() if "processor" in name}
    assert len(copies) == 2 * sum(name.endswith("attn2.to_k.weight") for name in state)
    for name, weight in copies.items():
        assert torch.equal(weight, state[name.replace("processor.", "").replace("_ip", "")])


def test_absent_characters_are_the_background_alone() -> None:
    """Tokens and boxes of absent slots, and boxes without area, have no influence whatever."""
    unet, (latents, timesteps) = small_unet(), some_latents()
    absent = some_conditions(exists=False)
    assert absent.character_tokens is not None
    assert absent.layout is not None
    noisy = absent.character_tokens.clone()
    noisy[:, QUERIES:] = 1e3
    no_area = Layout(torch.zeros(2, SLOTS, 4), torch.ones(2, SLOTS, dtype=torch.bool), *_dialogs_of(absent.layout))
    common = (absent.text_tokens, absent.pooled_text, absent.time_ids)
    background_only = Conditions(
        *common, absent.character_tokens[:, :QUERIES], Layout.empty(2, num_characters=0, num_dialogs=1)
    )
    with torch.no_grad():
        expected = predict_noise(unet, latents, timesteps, absent)
        torch.testing.assert_close(
            predict_noise(unet, latents, timesteps, Conditions(*common, noisy, absent.layout)), expected
        )
        torch.testing.assert_close(
            predict_noise(unet, latents, timesteps, Conditions(*common, noisy, no_area)), expected
        )
        torch.testing.assert_close(predict_noise(unet, latents, timesteps, background_only), expected)


def _dialogs_of(layout: Layout) -> tuple[Tensor, Tensor]:
    return layout.dialog_boxes, layout.dialog_exists


def _features(unet: UNet2DConditionModel, module: torch.nn.Module, call: Callable[[], object]) -> Tensor:
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach()))
    with torch.no_grad():
        call()
    handle.remove()
    return seen[0]


def test_a_character_changes_only_its_own_positions() -> None:
    """Directly after the first character attention; later layers may spread it."""
    unet, (latents, timesteps) = small_unet(), some_latents()
    before = some_conditions()
    assert before.character_tokens is not None
    changed = before.character_tokens.clone()
    changed[:, QUERIES : 2 * QUERIES] += 1.0
    after = Conditions(before.text_tokens, before.pooled_text, before.time_ids, changed, before.layout)
    layer = unet.down_blocks[1].attentions[0].transformer_blocks[0].attn2
    features = [_features(unet, layer, lambda c=c: predict_noise(unet, latents, timesteps, c)) for c in (before, after)]
    moved = ((features[0] - features[1]).abs().amax(dim=-1) > 1e-6).view(2, 4, 3)
    # Level 1 is 4 x 3; the first box holds the column centres of [0, 0.5): 1/6 only.
    assert moved.tolist() == [[[True, False, False]] * 4] * 2


def test_dialog_embedding_is_added_after_conv_in_inside_the_boxes() -> None:
    unet, (latents, timesteps) = small_unet(), some_latents()
    conditions = some_conditions()
    features = _features(unet, unet.conv_in, lambda: predict_noise(unet, latents, timesteps, conditions))
    with torch.no_grad():
        added = features - torch.nn.functional.conv2d(latents, unet.conv_in.weight, unet.conv_in.bias, padding=1)
    expected = torch.zeros(2, 32, 8, 6)
    embedding = unet.dialog_bbox_embedding.detach()[:, None, None]
    expected[:, :, 0:4, 3:6] = embedding
    expected[:, :, 0:1, 0:1] = embedding
    torch.testing.assert_close(added, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(7, 5), (9, 4), (1, 8)])
def test_odd_and_flat_sizes(size: tuple[int, int]) -> None:
    latents, timesteps = some_latents(2, *size)
    with torch.no_grad():
        noise = predict_noise(small_unet(), latents, timesteps, some_conditions())
    assert noise.shape == latents.shape


def test_gradients_reach_every_parameter_and_the_tokens() -> None:
    unet, (latents, timesteps) = small_unet(), some_latents()
    conditions = some_conditions()
    assert conditions.character_tokens is not None
    conditions.character_tokens.requires_grad_()
    predict_noise(unet, latents, timesteps, conditions).square().mean().backward()
    without = [name for name, weight in unet.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []
    assert conditions.character_tokens.grad is not None
    assert conditions.character_tokens.grad.flatten(0, 1).any(dim=-1).all()


def test_gradient_checkpointing_changes_nothing() -> None:
    unet, (latents, timesteps) = small_unet().train(), some_latents()
    grads = []
    for _ in range(2):
        unet.zero_grad()
        predict_noise(unet, latents, timesteps, some_conditions()).square().mean().backward()
        grads.append([weight.grad.clone() for weight in unet.parameters()])
        unet.enable_gradient_checkpointing()
    torch.testing.assert_close(grads[0], grads[1])


def test_copies_use_their_own_parameters() -> None:
    """An averaged copy (EMA) must not reach back into the network it was copied from."""
    unet, (latents, timesteps) = small_unet(), some_latents()
    twin = copy.deepcopy(unet)
    with torch.no_grad():
        expected = predict_noise(twin, latents, timesteps, some_conditions())
        for weight in unet.parameters():
            weight.add_(1.0)
        assert torch.equal(predict_noise(twin, latents, timesteps, some_conditions()), expected)


def test_character_scale_weighs_the_character_branch() -> None:
    unet, (latents, timesteps) = small_unet(), some_latents()
    conditions = some_conditions()
    with torch.no_grad():
        full = predict_noise(unet, latents, timesteps, conditions)
        half = predict_noise(unet, latents, timesteps, conditions, character_scale=0.5)
        for weight in character_weights(unet):
            weight.mul_(0.0)
        none = predict_noise(unet, latents, timesteps, conditions)
        off = predict_noise(unet, latents, timesteps, conditions, character_scale=0.0)
    torch.testing.assert_close(none, off)
    assert not torch.allclose(full, half)
    assert not torch.allclose(half, off)


def test_a_loops_predictor_equals_single_predictions() -> None:
    unet, (latents, timesteps) = small_unet(), some_latents()
    conditions = some_conditions()
    predict = noise_predictor(unet, conditions, character_scale=0.7)
    with torch.no_grad():
        for step in (timesteps, timesteps // 2):
            expected = predict_noise(unet, latents, step, conditions, character_scale=0.7)
            assert torch.equal(predict(latents, step), expected)
            latents = latents + 0.1


def test_save_and_load_are_bit_equal(tmp_path: Path) -> None:
    unet, (latents, timesteps) = small_unet(), some_latents()
    save_unet(unet, tmp_path)
    loaded = load_unet(tmp_path).eval()
    state = loaded.state_dict()
    assert list(state) == list(unet.state_dict())
    assert all(torch.equal(weight, state[name]) for name, weight in unet.state_dict().items())
    with torch.no_grad():
        assert torch.equal(
            predict_noise(loaded, latents, timesteps, some_conditions()),
            predict_noise(unet, latents, timesteps, some_conditions()),
        )
    save_unet(loaded, tmp_path / "again")
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert str(tmp_path) not in (tmp_path / "again" / "config.json").read_text()


def test_a_plain_unet_loads_plain(tmp_path: Path) -> None:
    save_unet(small_unet(manga=False), tmp_path)
    assert "dialog_bbox_embedding" not in load_unet(tmp_path).state_dict()


def test_loading_names_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected config.json"):
        load_unet(tmp_path)
    plain = small_unet(manga=False)
    plain.register_to_config(manga_conditions={"num_queries": QUERIES})
    save_unet(plain, tmp_path)
    with pytest.raises(ValueError, match=r"missing \['dialog_bbox_embedding'"):
        load_unet(tmp_path)


def test_paper_size_has_the_released_parameter_counts_and_names() -> None:
    """Stock SDXL 2,567,463,684; character keys and values of 70 layers 340,787,200; dialog embedding 320."""
    with torch.device("meta"):
        unet = build_unet(paper().model.unet, in_channels=4, cross_attention_dim=2048, pooled_dim=1280)
        assert sum(weight.numel() for weight in unet.parameters()) == 2_567_463_684
        add_manga_conditions(unet, num_queries=16)
    state = unet.state_dict()
    character = {name: weight for name, weight in state.items() if "processor" in name}
    assert len(character) == 140
    assert sum(weight.numel() for weight in character.values()) == 340_787_200
    assert state["dialog_bbox_embedding"].shape == (320,)
    name = "up_blocks.0.attentions.2.transformer_blocks.9.attn2.processor.to_v_ip.weight"
    assert character[name].shape == (1280, 2048)
    assert "mid_block.attentions.0.transformer_blocks.9.attn2.processor.to_k_ip.weight" in character


# ---------------------------------------------------------------- layouts of the paper's Table 3

LAYOUTS = [
    (characters, dialogs) for characters in ("mask", "fourier", "none") for dialogs in ("mask", "fourier", "none")
]


def laid_out(characters: str, dialogs: str, mask: str = "exact") -> UNet2DConditionModel:
    unet = small_unet(manga=False)
    add_manga_conditions(unet, QUERIES, max_characters=SLOTS, characters=characters, dialogs=dialogs, mask=mask)
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if "box_embedding" in name:
                weight.normal_()
    return unet.eval()


def moved(conditions: Conditions, boxes: str) -> Conditions:
    """``conditions`` with every box of one kind somewhere else."""
    layout = conditions.layout
    assert layout is not None
    return replace(conditions, layout=replace(layout, **{boxes: getattr(layout, boxes) * 0.5 + 0.2}))


@pytest.mark.parametrize(("characters", "dialogs"), LAYOUTS)
def test_a_layout_listens_to_its_boxes_or_not_at_all(characters: str, dialogs: str) -> None:
    unet, (latents, timesteps), conditions = laid_out(characters, dialogs), some_latents(), some_conditions()
    with torch.no_grad():
        base = predict_noise(unet, latents, timesteps, conditions)
        for boxes, layout in (("character_boxes", characters), ("dialog_boxes", dialogs)):
            other = predict_noise(unet, latents, timesteps, moved(conditions, boxes))
            assert torch.equal(other, base) is (layout == "none"), boxes


@pytest.mark.parametrize(
    ("characters", "dialogs", "mask"), [*((*pair, "exact") for pair in LAYOUTS), ("mask", "mask", "reference")]
)
def test_layouts_are_saved_looped_and_learnt(characters: str, dialogs: str, mask: str, tmp_path: Path) -> None:
    unet, (latents, timesteps), conditions = laid_out(characters, dialogs, mask), some_latents(), some_conditions()
    save_unet(unet, tmp_path)
    loaded = load_unet(tmp_path).eval()
    assert loaded.config["manga_conditions"] == {
        "num_queries": QUERIES,
        "max_characters": SLOTS,
        "characters": characters,
        "dialogs": dialogs,
        "mask": mask,
    }
    predict = noise_predictor(unet, conditions)
    with torch.no_grad():
        expected = predict_noise(unet, latents, timesteps, conditions)
        assert torch.equal(predict_noise(loaded, latents, timesteps, conditions), expected)
        assert torch.equal(predict(latents, timesteps), expected)
        assert torch.equal(predict(latents, timesteps), expected)
    unet.train()
    predict_noise(unet, latents, timesteps, conditions).square().mean().backward()
    assert [name for name, weight in unet.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize("dialogs", ["mask", "fourier", "none"])
def test_without_dialogs_every_layout_is_the_same(dialogs: str) -> None:
    conditions, (latents, timesteps) = some_conditions(), some_latents()
    assert conditions.layout is not None
    silent = replace(
        conditions, layout=replace(conditions.layout, dialog_exists=torch.zeros_like(conditions.layout.dialog_exists))
    )
    with torch.no_grad():
        expected = predict_noise(laid_out("mask", "none"), latents, timesteps, silent)
        torch.testing.assert_close(predict_noise(laid_out("mask", dialogs), latents, timesteps, silent), expected)


def test_a_dialogs_fourier_embedding_is_added_to_the_timesteps_before_their_network() -> None:
    unet, (latents, timesteps), conditions = laid_out("mask", "fourier"), some_latents(), some_conditions()
    inputs = _inputs(unet.time_embedding.linear_1, lambda: predict_noise(unet, latents, timesteps, conditions))
    plain = Conditions(conditions.text_tokens, conditions.pooled_text, conditions.time_ids)
    stock = _inputs(unet.time_embedding.linear_1, lambda: predict_noise(unet, latents, timesteps, plain))
    layout = conditions.layout
    assert layout is not None
    embed = unet.time_embedding.cond_proj.box_embedding
    with torch.no_grad():
        expected = sum(embed(layout.dialog_boxes, layout.dialog_exists)[:, dialog] for dialog in range(DIALOGS))
    torch.testing.assert_close(inputs - stock, expected, atol=1e-5, rtol=1e-4)


def test_a_characters_fourier_embedding_is_added_to_its_own_tokens() -> None:
    unet, (latents, timesteps), conditions = laid_out("fourier", "none"), some_latents(), some_conditions()
    assert conditions.layout is not None
    assert conditions.character_tokens is not None
    conditions.layout.character_exists[:, 1] = False
    layer = unet.mid_block.attentions[0].transformer_blocks[0].attn2.processor.to_k_ip
    tokens = _inputs(layer, lambda: predict_noise(unet, latents, timesteps, conditions))
    shift = (tokens - conditions.character_tokens).unflatten(1, (1 + SLOTS, QUERIES))
    assert not shift[:, 0].any()
    assert not shift[:, 2].any()
    boxes = conditions.layout.character_boxes
    with torch.no_grad():
        embedded = unet.character_box_embedding(boxes, torch.ones(boxes.shape[:2], dtype=torch.bool))
    for slot in (0, 2):
        for query in range(QUERIES):
            torch.testing.assert_close(shift[:, 1 + slot, query], embedded[:, slot], atol=1e-5, rtol=1e-4)


def _inputs(module: torch.nn.Module, call: Callable[[], object]) -> Tensor:
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        call()
    handle.remove()
    return seen[0]


def test_keys_and_values_are_computed_once_in_a_loop() -> None:
    unet, (latents, timesteps), conditions = small_unet(), some_latents(), some_conditions()
    counted: list[str] = []
    for name, module in unet.named_modules():
        if name.endswith(("attn2.to_k", "to_k_ip")):
            module.register_forward_hook(lambda *_, name=name: counted.append(name))
    predict = noise_predictor(unet, conditions)
    for _ in range(3):
        predict(latents, timesteps)
    assert len(counted) == len(set(counted)) > 0
