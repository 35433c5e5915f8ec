"""The identity adapter: one prefill is generation, what learns, the loss, files, merging."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, LogitsProcessor, LogitsProcessorList, PreTrainedTokenizerFast

from diffsensei.config.schema import IdentityAdapterConfig
from diffsensei.models.identity_adapter import IdentityAdapter, adapt_tokens, blend_tokens, load_adapter
from diffsensei.models.identity_prompt import IGNORED

CONFIG = IdentityAdapterConfig(
    lora_rank=2,
    lora_alpha=4.0,
    lora_dropout=0.0,
    resampler_heads=2,
    max_caption_tokens=8,
    lm_loss_scale=1.0,
    rec_loss_scale=6.0,
    diffusion_loss_scale=1.0,
)
CAPTIONS = ["a boy runs in the rain", "two friends"]
BuildLlm = Callable[..., LlamaForCausalLM]


@dataclass(frozen=True)
class Loaded:
    tokenizer: PreTrainedTokenizerFast
    model: LlamaForCausalLM


def build(llm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> IdentityAdapter:
    torch.manual_seed(1)
    return IdentityAdapter(llm, tokenizer, CONFIG, num_characters=2, num_queries=2, token_dim=8)


@pytest.fixture
def adapter(llm: LlamaForCausalLM, llm_tokenizer: PreTrainedTokenizerFast) -> IdentityAdapter:
    """With every learnt parameter away from its initial value."""
    built = build(llm, llm_tokenizer).eval()
    with torch.no_grad():
        for parameter in built.trainable_parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return built


@pytest.fixture
def source() -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(2, 4, 8)


def question_states(adapter: IdentityAdapter, source: torch.Tensor, said: tuple[int, ...] = ()) -> torch.Tensor:
    """(B, hidden): the states after each panel's question and the tokens ``said`` since."""
    llm, states = adapter.llm.get_base_model(), []
    for row, caption in enumerate(CAPTIONS):
        prompt = adapter.prompts.encode([caption])
        ids = torch.cat([prompt.token_ids[0, : int(prompt.question_lengths)], torch.tensor(said, dtype=torch.int64)])
        with torch.no_grad():
            embedded = llm.get_input_embeddings()(ids[None]).clone()
            embedded[0, prompt.source_positions[0]] = adapter.agent.input_resampler(source[row : row + 1])[0]
            states.append(llm.model(inputs_embeds=embedded).last_hidden_state[0, -1])
    return torch.stack(states)


def teach(adapter: IdentityAdapter, lessons: list[tuple[torch.Tensor, int]]) -> None:
    """Set the head so that after states (B, hidden) the paired token is by far the likeliest."""
    states = torch.cat([state for state, _ in lessons])
    tokens = torch.cat([torch.full((len(state),), token) for state, token in lessons])
    head = adapter.llm.get_base_model().lm_head.token_adapter
    learnt = head.token_indices["default"]
    with torch.no_grad():
        for token in tokens.unique().tolist():
            rows, row = head.base_layer.weight, token
            if token in learnt:
                rows, row = head.trainable_tokens_delta["default"], learnt.index(token)
            rows[row] = torch.linalg.pinv(states) @ torch.where(tokens == token, 60.0, -60.0)


def word(adapter: IdentityAdapter, text: str) -> int:
    return adapter.tokenizer.convert_tokens_to_ids(text)


class _ForcedChain(LogitsProcessor):
    """SEED-X's rule: once the last token is one of the answer's, the next of the answer is forced; before, the inside
    of an image is out of the question."""

    def __init__(self, chain: list[int], inner: list[int]) -> None:
        self.chain, self.inner = chain, inner

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        last = int(input_ids[0, -1]) if input_ids.shape[1] else None
        if last in self.chain[:-1]:
            scores[:, self.chain[self.chain.index(last) + 1]] = scores.max() + 10
        else:
            scores[:, self.inner] = -torch.inf
        return scores


def generated_tokens(adapter: IdentityAdapter, caption: str, source: torch.Tensor) -> tuple[list[int], torch.Tensor]:
    """What plain generation says, one token after another, and the adapted tokens (1, N*Q, C) it amounts to."""
    llm, prompt = adapter.llm.get_base_model(), adapter.prompts.encode([caption])
    vocabulary = adapter.tokenizer.get_vocab()
    chain = [vocabulary[token] for token in ("▁", "<img>", *(f"<img_{k:05d}>" for k in range(4)), "</img>")]
    with torch.no_grad():
        embedded = llm.get_input_embeddings()(prompt.token_ids).clone()
        embedded[0, prompt.source_positions[0]] = adapter.agent.input_resampler(source)[0]
        generated = llm.generate(
            inputs_embeds=embedded[:, : int(prompt.question_lengths)],
            max_new_tokens=20,
            do_sample=False,
            logits_processor=LogitsProcessorList([_ForcedChain(chain, chain[2:])]),
            output_hidden_states=True,
            return_dict_in_generate=True,
        )
        said = generated.sequences[0].tolist()
        # Step k feeds what was said at step k - 1.
        first = said.index(chain[2])
        hidden = torch.cat([generated.hidden_states[first + 1 + k][-1] for k in range(4)], dim=1)
        return said, adapter.agent.output_resampler(hidden)


@pytest.mark.parametrize("said", [("▁",), ("<img>",), ("rain", "▁"), ("the", "rain", "<img>")])
def test_hidden_states_are_those_of_generation(
    said: tuple[str, ...],
    adapter: IdentityAdapter,
    source: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one prefill where the model opens its answer as in training, token by token where it says something else."""
    ids = tuple(word(adapter, text) for text in said)
    teach(adapter, [(question_states(adapter, source, ids[:k]), token) for k, token in enumerate(ids)])
    expected = []
    for row, caption in enumerate(CAPTIONS):
        spoken, tokens = generated_tokens(adapter, caption, source[row : row + 1])
        assert tuple(spoken[: len(ids)]) == ids
        expected.append(tokens)
    forwards: list[int] = []
    adapter.llm.get_base_model().model.register_forward_hook(lambda *_: forwards.append(1))
    torch.testing.assert_close(adapter.adapt(CAPTIONS, source), torch.cat(expected), atol=1e-4, rtol=0)
    # Free tokens and the forced rest, for each panel, on top of the common prefill and the panel's own question.
    assert len(forwards) == (1 if said == ("▁",) else 1 + 2 * (1 + len(said)))


def test_without_an_image_in_the_answer_the_expected_one_is_read(
    adapter: IdentityAdapter, source: torch.Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    teach(adapter, [(question_states(adapter, source), word(adapter, "▁"))])
    expected = adapter.adapt(CAPTIONS, source)
    assert caplog.messages == []
    teach(adapter, [(question_states(adapter, source), word(adapter, "</s>"))])
    torch.testing.assert_close(adapter.adapt(CAPTIONS, source), expected)
    assert len(caplog.messages) == 2
    assert "needs more training" in caplog.messages[0]


def test_a_panel_does_not_depend_on_its_batch(adapter: IdentityAdapter, source: torch.Tensor) -> None:
    together = adapter.adapt(CAPTIONS, source)
    torch.testing.assert_close(together[1:], adapter.adapt(CAPTIONS[1:], source[1:]), atol=1e-5, rtol=1e-5)


def test_both_caption_and_source_matter(adapter: IdentityAdapter, source: torch.Tensor) -> None:
    base = adapter.adapt(CAPTIONS, source)
    assert not torch.allclose(adapter.adapt(CAPTIONS, source + 0.5), base, atol=1e-4)
    assert not torch.allclose(adapter.adapt(CAPTIONS[::-1], source), base, atol=1e-4)


def test_lm_loss_is_the_token_mean_over_the_framing_tokens(adapter: IdentityAdapter, source: torch.Tensor) -> None:
    teach(adapter, [(question_states(adapter, source), word(adapter, "▁"))])
    output = adapter(CAPTIONS, source)
    torch.testing.assert_close(output.predicted, adapter.adapt(CAPTIONS, source))
    prompts = adapter.prompts.encode(CAPTIONS)
    llm = adapter.llm.get_base_model()
    embedded = llm.get_input_embeddings()(prompts.token_ids)
    for row in range(2):
        embedded[row, prompts.source_positions[row]] = adapter.agent.input_resampler(source)[row]
    expected = llm(inputs_embeds=embedded, labels=prompts.labels).loss
    assert int((prompts.labels != IGNORED).sum()) == 8
    torch.testing.assert_close(output.lm_loss, expected)


def test_what_learns(llm: LlamaForCausalLM, llm_tokenizer: PreTrainedTokenizerFast, source: torch.Tensor) -> None:
    """LoRA, norms, image-token rows and resamplers; nothing else has a gradient."""
    adapter = build(llm, llm_tokenizer).train()
    with torch.no_grad():  # LoRA's B starts at zero, which hides A's gradient.
        for name, parameter in adapter.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    output = adapter(CAPTIONS, source)
    (output.predicted.square().mean() + output.lm_loss).backward()
    learning = {name for name, parameter in adapter.named_parameters() if parameter.requires_grad}
    kinds = ("lora_A", "lora_B", "layernorm", "model.norm", "trainable_tokens_delta", "agent.")
    assert all(any(kind in name for kind in kinds) for name in learning)
    assert all(any(kind in name for name in learning) for kind in kinds)
    assert len(adapter.trainable_parameters()) == len(learning)
    reached = {name for name, parameter in adapter.named_parameters() if parameter.grad is not None}
    assert reached == learning
    rows = 2 + 4
    deltas = [p for name, p in adapter.named_parameters() if "trainable_tokens_delta" in name]
    assert [tuple(delta.shape) for delta in deltas] == [(rows, 32), (rows, 32)]


@pytest.mark.parametrize(("norms", "rows"), [(True, False), (False, True), (False, False)])
def test_norms_and_rows_can_be_left_alone(
    norms: bool,
    rows: bool,
    llm: LlamaForCausalLM,
    build_llm: BuildLlm,
    llm_tokenizer: PreTrainedTokenizerFast,
    source: torch.Tensor,
    tmp_path: Path,
) -> None:
    config = CONFIG.replaced(train_norms=norms, train_image_tokens=rows)
    torch.manual_seed(1)
    adapter = IdentityAdapter(llm, llm_tokenizer, config, num_characters=2, num_queries=2, token_dim=8)
    with torch.no_grad():
        for parameter in adapter.trainable_parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    output = adapter(CAPTIONS, source)
    (output.predicted.square().mean() + output.lm_loss).backward()
    reached = {name for name, parameter in adapter.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, parameter in adapter.named_parameters() if parameter.requires_grad}
    assert any("norm" in name for name in reached if not name.startswith("agent.")) is norms
    assert any("trainable_tokens_delta" in name for name in reached) is rows
    assert any("lora_A" in name for name in reached)
    adapter.eval().save_adapter(tmp_path)
    loaded = load_adapter(tmp_path, Loaded(llm_tokenizer, build_llm()))
    assert torch.equal(loaded.adapt(CAPTIONS, source), adapter.adapt(CAPTIONS, source))


def test_a_fresh_adapter_leaves_the_language_model_as_it_was(
    llm: LlamaForCausalLM, llm_tokenizer: PreTrainedTokenizerFast, source: torch.Tensor
) -> None:
    untouched = copy.deepcopy(llm)
    adapter = build(llm, llm_tokenizer).eval()
    expected = adapt_tokens(untouched, adapter.agent, adapter.prompts, CAPTIONS, source)
    torch.testing.assert_close(adapter.adapt(CAPTIONS, source), expected)


def test_save_load_and_merge(
    adapter: IdentityAdapter,
    build_llm: BuildLlm,
    llm_tokenizer: PreTrainedTokenizerFast,
    source: torch.Tensor,
    tmp_path: Path,
) -> None:
    adapter.save_adapter(tmp_path)
    expected = adapter.adapt(CAPTIONS, source)
    loaded = load_adapter(tmp_path, Loaded(llm_tokenizer, build_llm()))
    assert torch.equal(loaded.adapt(CAPTIONS, source), expected)

    loaded.save_adapter(tmp_path / "again")
    for name in ("config.json", "llm_changes.safetensors", "agent/diffusion_pytorch_model.safetensors"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    whole = sum(parameter.numel() for parameter in build_llm().parameters()) * 4
    assert (tmp_path / "llm_changes.safetensors").stat().st_size < whole, "only what was learnt is stored"

    merged = loaded.merged_llm()
    assert type(merged) is LlamaForCausalLM
    assert set(merged.state_dict()) == set(build_llm().state_dict())
    torch.testing.assert_close(
        adapt_tokens(merged, loaded.agent, loaded.prompts, CAPTIONS, source), expected, atol=1e-5, rtol=1e-5
    )


def test_weights_of_another_language_model_are_refused(
    adapter: IdentityAdapter, build_llm: BuildLlm, llm_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    adapter.save_adapter(tmp_path)
    with pytest.raises(ValueError, match="does not fit the language model"):
        load_adapter(tmp_path, Loaded(llm_tokenizer, build_llm(num_hidden_layers=3)))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"expected config.json"):
        load_adapter(tmp_path, Loaded(llm_tokenizer, build_llm()))


def test_blend_is_between_source_and_adapted() -> None:
    source, adapted = torch.zeros(1, 4, 2), torch.ones(1, 4, 2)
    assert torch.equal(blend_tokens(source, adapted, 0.0), source)
    assert torch.equal(blend_tokens(source, adapted, 1.0), adapted)
    assert math.isclose(float(blend_tokens(source, adapted, 0.4).mean()), 0.4, rel_tol=1e-6)
