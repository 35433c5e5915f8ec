"""Changes of the language model, by hand-computed numbers."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from diffsensei.released.changes import split_agent
from diffsensei.released.loading import load_released
from diffsensei.released.stored import stored

Q = "llm.base_model.model.model.layers.0.self_attn.q_proj"


def test_a_low_rank_product_is_added_with_its_scale() -> None:
    """alpha 6, rank 2: W + 3 B A."""
    state = {
        f"{Q}.lora_A.default.weight": torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]),
        f"{Q}.lora_B.default.weight": torch.tensor([[1.0, 2.0], [0.0, -1.0]]),
        "input_resampler.query": torch.zeros(1, 1),
    }
    resamplers, changes = split_agent(stored(state, "agent"), 6.0, "agent")
    assert set(resamplers) == {"input_resampler.query"}
    assert changes is not None
    assert changes.rank == 2
    weight = torch.tensor([[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]])
    name = "model.layers.0.self_attn.q_proj.weight"
    expected = torch.tensor([[13.0, 26.0, 30.0], [40.0, 47.0, 63.0]])
    assert torch.equal(changes.merged(name, weight), expected)
    assert torch.equal(changes.merged(name, weight.bfloat16()), expected), "computed in float32"
    assert changes.merged("model.norm.weight", weight) is weight


@pytest.mark.parametrize("suffix", [".modules_to_save.default.weight", ".modules_to_save.weight", ".weight"])
def test_what_was_trained_whole_takes_the_place_of_the_old(suffix: str) -> None:
    state = {f"base_model.model.model.norm{suffix}": torch.tensor([5.0, 7.0])}
    _, changes = split_agent(stored(state, "agent"), 64.0, "agent")
    assert changes is not None
    assert changes.rank is None
    assert changes.merged("model.norm.weight", torch.zeros(2)).tolist() == [5.0, 7.0]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({f"{Q}.lora_A.weight": (2, 3)}, r"1 missing: the other LoRA factor of model\.layers\.0\.self_attn\.q_proj"),
        ({f"{Q}.lora_A.weight": (2, 3), f"{Q}.lora_B.weight": (3,)}, "1 of another shape"),
        ({f"{Q}.base_layer.weight": (3, 3)}, r"1 unexpected: .*base_layer\.weight"),
        ({"lm_head.weight": (3, 3)}, r"1 unexpected: lm_head\.weight"),
        (
            {
                f"{Q}.lora_A.weight": (2, 3),
                f"{Q}.lora_B.weight": (3, 2),
                f"{Q}x.lora_A.weight": (1, 3),
                f"{Q}x.lora_B.weight": (3, 1),
            },
            r"one rank, got ranks \[1, 2\]",
        ),
    ],
)
def test_halves_and_strangers_are_refused(state: dict[str, tuple[int, ...]], said: str) -> None:
    tensors = {name: torch.zeros(shape) for name, shape in state.items()}
    with pytest.raises(ValueError, match=said) as error:
        split_agent(stored(tensors, "agent"), 64.0, "agent")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [".default", ""])
def test_an_agent_file_of_own_training_is_merged_into_the_llama(
    release: Any, changes_of_rank: Any, tmp_path: Path, name: str
) -> None:
    learnt = changes_of_rank(2, name)
    folder = Path(shutil.copytree(release.folder, tmp_path / "release"))
    torch.save(release.agent | learnt, folder / "mllm" / "agent" / "pytorch_model.bin")
    llm = load_released(folder, lora_alpha=8.0).llm.state_dict()
    plain = load_released(release.folder).llm.state_dict()

    module = "model.layers.1.mlp.down_proj"
    down = learnt[f"llm.base_model.model.{module}.lora_A{name}.weight"]
    up = learnt[f"llm.base_model.model.{module}.lora_B{name}.weight"]
    torch.testing.assert_close(llm[f"{module}.weight"], release.llm[f"{module}.weight"] + 4.0 * up @ down)
    norm = learnt[f"llm.base_model.model.model.norm.modules_to_save{name}.weight"]
    assert torch.equal(llm["model.norm.weight"], norm)
    changed = {key for key in llm if not torch.equal(llm[key], plain[key])}
    assert changed == llm.keys() - {"model.embed_tokens.weight", "lm_head.weight"}


def test_changes_of_another_language_model_are_refused(release: Any, changes_of_rank: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(release.folder, tmp_path / "release"))
    for key, shape, said in (
        ("llm.base_model.model.model.layers.9.input_layernorm.weight", (64,), "1 unexpected: model.layers.9"),
        ("llm.base_model.model.model.norm.modules_to_save.default.weight", (3,), "1 of another shape: model.norm"),
    ):
        odd = copy.copy(changes_of_rank(2, ".default")) | {key: torch.zeros(shape)}
        torch.save(release.agent | odd, folder / "mllm" / "agent" / "pytorch_model.bin")
        with pytest.raises(ValueError, match=said):
            load_released(folder)
