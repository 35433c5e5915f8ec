"""SEED-Story's language: what is labelled, where slots are, and that nothing reads ahead."""

from typing import Any

import pytest
import torch

from diffsensei.baselines.seed_story.language import StoryLanguage
from diffsensei.baselines.seed_story.prompts import StoryPrompts
from diffsensei.baselines.seed_story.resamplers import GridResampler, StoryResamplers, cosine_loss
from diffsensei.foundations.loading import load_llm
from diffsensei.models.identity_prompt import IGNORED

SLOTS, FEATURES, DIM = 4, 9, 12


@pytest.fixture(scope="module")
def language(world: Any) -> StoryLanguage:
    torch.manual_seed(0)
    loaded = load_llm(world.foundations["llm"])
    resamplers = StoryResamplers(
        num_slots=SLOTS,
        num_features=FEATURES,
        feature_dim=DIM,
        llm_dim=loaded.model.config.hidden_size,
        heads=2,
    )
    return StoryLanguage(loaded.model, loaded.tokenizer, resamplers, 8).eval().requires_grad_(False)


def features(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, FEATURES, DIM, generator=torch.Generator().manual_seed(seed))


def spelt(language: StoryLanguage, *captions: str) -> list[list[int]]:
    return [language.prompts.caption_ids(caption) for caption in captions]


def test_labels_are_turn_caption_opening_and_end_of_the_last_panel(language: StoryLanguage) -> None:
    prompts: StoryPrompts = language.prompts
    batch = prompts.encode([spelt(language, "a boy runs", "rain"), []], spelt(language, "a girl", "a boy"))
    long, short = batch.labels
    girl, boy = (prompts.caption_ids(text) for text in ("a girl", "a boy"))
    assert long[long != IGNORED].tolist() == [*prompts.turn_ids, *girl, prompts.image_id, prompts.eos_id]
    assert short[short != IGNORED].tolist() == [*boy, prompts.image_id, prompts.eos_id]
    where = long != IGNORED
    assert torch.equal(long[where], batch.token_ids[0][where])
    for row in range(2):
        assert batch.token_ids[row, batch.answer_positions[row]].tolist() == prompts.slot_ids
        assert batch.token_ids[row, batch.answer_positions[row, 0] - 1] == prompts.image_id
    assert batch.context_rows.tolist() == [0, 0]
    assert batch.token_ids[0, batch.context_positions].tolist() == [prompts.slot_ids] * 2
    assert batch.token_ids[:, 0].tolist() == [prompts.bos_id] * 2


def test_a_panel_sees_those_before_it_only_and_its_row_alone(language: StoryLanguage) -> None:
    earlier, captions = [spelt(language, "a boy", "rain"), spelt(language, "a girl")], spelt(language, "a girl", "rain")
    context = features(3)
    plain = language(earlier, captions, context)
    assert plain.features.shape == (2, FEATURES, DIM)
    changed = context.clone()
    changed[2] += 1.0
    other = language(earlier, captions, changed).features
    assert torch.equal(other[0], plain.features[0])
    assert not torch.allclose(other[1], plain.features[1])
    single = language(earlier[:1], captions[:1], context[:2]).features
    torch.testing.assert_close(single[0], plain.features[0], atol=1e-5, rtol=1e-4)


def test_features_of_context_stand_in_their_slots(language: StoryLanguage) -> None:
    context = features(2)
    prompts = language.prompts.encode([spelt(language, "a boy", "rain")], spelt(language, "a girl"))
    embedded = language._embedded(prompts, context)
    slots = language.resamplers.input_resampler(context)
    for panel in range(2):
        torch.testing.assert_close(embedded[0, prompts.context_positions[panel]], slots[panel])
    own = language.base.get_input_embeddings()(torch.tensor(language.prompts.slot_ids))
    torch.testing.assert_close(embedded[0, prompts.answer_positions[0]], own)


def test_own_words_equal_those_of_plain_generation(language: StoryLanguage) -> None:
    """Step by step with a cache gives what a full pass over the same prefix would choose."""
    context = features(1)
    written = language.write_caption(spelt(language, "a boy runs"), context, 5)
    prompts, base = language.prompts, language.base
    prefix = [*prompts.panel_ids(prompts.caption_ids("a boy runs"), first=True), *prompts.turn_ids]
    start = prefix.index(prompts.image_id) + 1
    expected: list[int] = []
    while len(expected) < 5:
        embedded = base.get_input_embeddings()(torch.tensor([prefix + expected]))
        embedded[0, start : start + SLOTS] = language.resamplers.input_resampler(context)[0]
        logits = base.lm_head(base.model(inputs_embeds=embedded).last_hidden_state[0, -1])
        logits[prompts.inner_ids] = -torch.inf
        token = int(logits.argmax())
        if token in (prompts.image_id, prompts.eos_id):
            break
        expected.append(token)
    assert written == expected
    assert not set(written) & set(prompts.inner_ids)


def test_slots_after_own_words_say_what_they_would_say_were_writing_to_go_on(language: StoryLanguage) -> None:
    """Told in one pass, or token by token with a cache behind what was written: caption, ``<img>``, then the slots."""
    context, earlier = features(1), spelt(language, "a boy runs")
    prompts, base = language.prompts, language.base
    written = language.write_caption(earlier, context, 5)
    told = language([earlier], [written], context).features

    prefix = [*prompts.panel_ids(earlier[0], first=True), *prompts.turn_ids]
    embedded = base.get_input_embeddings()(torch.tensor([prefix]))
    start = prefix.index(prompts.image_id) + 1
    embedded[0, start : start + SLOTS] = language.resamplers.input_resampler(context)[0]
    output = base.model(inputs_embeds=embedded, use_cache=True)
    states = []
    for token in [*written, prompts.image_id, *prompts.slot_ids]:
        step = base.get_input_embeddings()(torch.tensor([[token]]))
        output = base.model(inputs_embeds=step, past_key_values=output.past_key_values, use_cache=True)
        states.append(output.last_hidden_state[0, -1])
    slots = torch.stack(states[-SLOTS:]).unsqueeze(0)
    torch.testing.assert_close(told, language.resamplers.output_resampler(slots), atol=1e-5, rtol=1e-4)


def test_equal_features_have_no_loss() -> None:
    x = features(2)
    assert cosine_loss(x, 3 * x) == pytest.approx(0.0, abs=1e-6)
    assert cosine_loss(x, -x) == pytest.approx(2.0)


def test_positions_are_resized_to_the_grid_they_look_at() -> None:
    torch.manual_seed(0)
    resampler = GridResampler(4, embed_dim=8, heads=2, kv_dim=6)
    assert resampler(torch.randn(2, 9, 6)).shape == (2, 4, 8)
    assert resampler(torch.randn(2, 4, 6)).shape == (2, 4, 8)


def test_a_tokenizer_without_slots_is_refused(world: Any) -> None:
    tokenizer = load_llm(world.foundations["llm"]).tokenizer
    with pytest.raises(ValueError, match="lacking <img_00016>"):
        StoryPrompts(tokenizer, 25, 8)
