"""The context of earlier panels: what is kept, what is read, and that nothing else of the UNet changes."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock

from diffsensei.baselines.stable_diffusion import train_only
from diffsensei.baselines.storygen.context import Keep, Read, add_context, behind_one_another, reference_timesteps
from diffsensei.baselines.storygen.objective import context_features
from diffsensei.models.diffusion_loss import Noising

TEXT = 12


def stock() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        cross_attention_dim=TEXT,
    ).eval()


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    network = stock()
    add_context(network)
    return network.requires_grad_(False)


def rows(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def predict(unet: Any, latents: torch.Tensor, condition: Any = None) -> torch.Tensor:
    kwargs = {"cross_attention_kwargs": {"condition": condition}} if condition is not None else {}
    with torch.no_grad():
        return unet(latents, torch.full((len(latents),), 300), rows(len(latents), 5, TEXT), **kwargs).sample


def features(unet: Any, earlier: torch.Tensor) -> Any:
    """Of (B, n, 4, h, w) clean latents."""
    keep = Keep()
    predict(unet, earlier.flatten(0, 1), keep)
    return behind_one_another(keep.features, earlier.shape[1])


def test_without_a_context_it_is_stable_diffusion_to_the_bit(unet: UNet2DConditionModel) -> None:
    latents = rows(2, 4, 8, 8)
    assert torch.equal(predict(unet, latents), predict(stock(), latents))
    assert torch.equal(predict(unet, latents, Keep()), predict(stock(), latents))


def test_names_of_what_is_added() -> None:
    network = stock()
    own = set(network.state_dict())
    blocks = sum(isinstance(module, BasicTransformerBlock) for module in network.modules())
    add_context(network)
    added = sorted(set(network.state_dict()) - own)
    assert own <= set(network.state_dict())
    ends = ("attn3.to_k.weight", "attn3.to_out.0.bias", "attn3.to_out.0.weight", "attn3.to_q.weight")
    ends = (*ends, "attn3.to_v.weight", "norm4.bias", "norm4.weight")
    assert len(added) == blocks * len(ends)
    assert all(name.endswith(ends) for name in added)
    for name in added:
        twin = name.replace("attn3", "attn1").replace("norm4", "norm1")
        assert torch.equal(network.state_dict()[name], network.state_dict()[twin])


def test_a_block_by_hand(unet: UNet2DConditionModel) -> None:
    """h' = [h + attn2(norm2 h)] + [h + attn3(norm4 h, F)], then the feed-forward: the residual counts twice."""
    name, block = next((n, m) for n, m in unet.named_modules() if isinstance(m, BasicTransformerBlock))
    width = block.norm1.normalized_shape[0]
    x, text, kept = rows(1, 6, width), rows(1, 5, TEXT, seed=2), rows(1, 9, width, seed=3)
    layer = f"{name}.attn2.processor"
    with torch.no_grad():
        h = x + block.attn1(block.norm1(x))
        text_part = block.attn2(block.norm2(h), encoder_hidden_states=text)
        context_part = block.attn3(block.norm4(h), encoder_hidden_states=kept)
        expected = 2 * h + text_part + context_part
        expected = expected + block.ff(block.norm3(expected))
        kwargs = {"condition": Read({layer: kept})}
        came = block(x, encoder_hidden_states=text, cross_attention_kwargs=kwargs)
    torch.testing.assert_close(came, expected)


def test_earlier_panels_of_another_size_are_read_in_their_order(unet: UNet2DConditionModel) -> None:
    latents, earlier = rows(1, 4, 8, 16), rows(1, 2, 4, 4, 4, seed=5)
    forward = predict(unet, latents, Read(features(unet, earlier)))
    assert forward.shape == latents.shape
    assert not torch.allclose(forward, predict(unet, latents))
    # Attention has no order of its own: what tells panels apart is their noise.
    noising = Noising(1.0)
    noise = rows(1, 1, 4, 4, 4, seed=6).expand_as(earlier)
    time, text = torch.tensor([900]), rows(2, 5, TEXT)
    ordered = context_features(unet, noising, earlier, noise, time, text)
    swapped = context_features(unet, noising, earlier.flip(1), noise, time, text)
    layer = next(iter(ordered))
    assert not torch.allclose(ordered[layer], swapped[layer].unflatten(1, (2, -1)).flip(1).flatten(1, 2))
    assert not torch.allclose(predict(unet, latents, Read(ordered)), predict(unet, latents, Read(swapped)))


def test_the_newest_is_the_cleanest() -> None:
    assert reference_timesteps(torch.tensor([999, 57, 9]), 3).tolist() == [[297, 198, 99], [15, 10, 5], [0, 0, 0]]
    assert reference_timesteps(torch.tensor([999]), 1).tolist() == [[99]]


def test_gradients_reach_the_context_attention_alone() -> None:
    network = stock()
    add_context(network)
    train_only(network, ".attn3.")
    with torch.no_grad():
        kept = features(network, rows(2, 2, 4, 4, 4))
    out = network(
        rows(2, 4, 8, 8), torch.tensor([3, 4]), rows(2, 5, TEXT), cross_attention_kwargs={"condition": Read(kept)}
    ).sample
    out.square().mean().backward()
    reached = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, _ in network.named_parameters() if ".attn3." in name}
    assert all(network.get_parameter(name).grad.abs().sum() > 0 for name in reached)
