"""The resampler: absent slots, gradients, released names and sizes, files."""

from pathlib import Path

import torch

from diffsensei.config.presets import paper
from diffsensei.models.resampler import Resampler


def small() -> Resampler:
    torch.manual_seed(0)
    return Resampler(dim=16, depth=2, heads=2, head_dim=8, num_queries=3, clip_dim=10, magi_dim=6, output_dim=12)


def features(batch: int = 2, slots: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, slots, 5, 10), torch.randn(batch, slots, 6)


def test_background_first_then_slots_and_absent_ones_exactly_zero() -> None:
    resampler, (clip_tokens, magi_cls) = small(), features()
    exists = torch.tensor([[True, False, True], [False, False, True]])
    tokens = resampler(clip_tokens, magi_cls, exists)
    assert tokens.shape == (2, 12, 12)
    assert torch.equal(tokens[:, :3], resampler.dummy_tokens.expand(2, -1, -1))
    per_slot = tokens[:, 3:].view(2, 3, 3, 12)
    assert (per_slot[~exists] == 0).all()
    alone = resampler(clip_tokens[1:, 2:], magi_cls[1:, 2:], torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(per_slot[1, 2], alone[0, 3:])


def test_absent_features_have_no_influence() -> None:
    resampler, (clip_tokens, magi_cls) = small(), features()
    exists = torch.tensor([[True, False, True], [False, False, True]])
    expected = resampler(clip_tokens, magi_cls, exists)
    clip_tokens[~exists], magi_cls[~exists] = torch.nan, torch.nan
    assert torch.equal(resampler(clip_tokens, magi_cls, exists), expected)


def test_gradients_reach_every_parameter() -> None:
    resampler, (clip_tokens, magi_cls) = small(), features()
    resampler(clip_tokens, magi_cls, torch.ones(2, 3, dtype=torch.bool)).square().sum().backward()
    assert [name for name, p in resampler.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_without_any_character_every_parameter_has_a_gradient() -> None:
    resampler, (clip_tokens, magi_cls) = small(), features()
    resampler(clip_tokens, magi_cls, torch.zeros(2, 3, dtype=torch.bool)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in resampler.parameters())
    assert {name for name, p in resampler.named_parameters() if p.grad.any()} == {"dummy_tokens"}


def test_without_magi_its_vector_has_no_weight_and_no_influence(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"dim": 16, "depth": 2, "heads": 2, "head_dim": 8, "num_queries": 3, "clip_dim": 10, "magi_dim": 6}
    resampler = Resampler(**sizes, output_dim=12, magi=False)
    clip_tokens, magi_cls = features()
    exists = torch.ones(2, 3, dtype=torch.bool)
    tokens = resampler(clip_tokens, magi_cls, exists)
    assert torch.equal(resampler(clip_tokens, magi_cls + 1.0, exists), tokens)
    assert not torch.equal(small()(clip_tokens, magi_cls + 1.0, exists), small()(clip_tokens, magi_cls, exists))
    assert small().state_dict().keys() - resampler.state_dict().keys() == {"proj_in_magi.weight", "proj_in_magi.bias"}
    tokens.square().sum().backward()
    assert [name for name, p in resampler.named_parameters() if p.grad is None or not p.grad.any()] == []
    resampler.save_pretrained(tmp_path)
    assert torch.equal(Resampler.from_pretrained(tmp_path)(clip_tokens, magi_cls, exists), tokens)


def test_save_and_load_are_bit_equal(tmp_path: Path) -> None:
    resampler, (clip_tokens, magi_cls) = small(), features()
    resampler.save_pretrained(tmp_path)
    loaded = Resampler.from_pretrained(tmp_path)
    exists = torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(loaded(clip_tokens, magi_cls, exists), resampler(clip_tokens, magi_cls, exists))


def test_paper_size_has_the_released_parameter_count_and_shapes() -> None:
    config = paper().model.resampler
    with torch.device("meta"):
        resampler = Resampler(**config.model_dump(), clip_dim=1280, magi_dim=768, output_dim=2048)
    assert sum(parameter.numel() for parameter in resampler.parameters()) == 83_978_752
    shapes = {name: tuple(tensor.shape) for name, tensor in resampler.state_dict().items()}
    layers = {
        f"layers.{i}.{name}": shape
        for i in range(4)
        for name, shape in {
            "0.norm1.weight": (1280,),
            "0.norm1.bias": (1280,),
            "0.norm2.weight": (1280,),
            "0.norm2.bias": (1280,),
            "0.to_q.weight": (1280, 1280),
            "0.to_kv.weight": (2560, 1280),
            "0.to_out.weight": (1280, 1280),
            "1.0.weight": (1280,),
            "1.0.bias": (1280,),
            "1.1.weight": (5120, 1280),
            "1.3.weight": (1280, 5120),
        }.items()
    }
    assert shapes == layers | {
        "latents": (1, 16, 1280),
        "proj_in.weight": (1280, 1280),
        "proj_in.bias": (1280,),
        "proj_in_magi.weight": (1280, 768),
        "proj_in_magi.bias": (1280,),
        "proj_out.weight": (2048, 1280),
        "proj_out.bias": (2048,),
        "norm_out.weight": (2048,),
        "norm_out.bias": (2048,),
        "dummy_tokens": (16, 2048),
    }
