import json
from pathlib import Path

import pytest
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from diffsensei.data.synthetic.captions import caption_vocabulary
from diffsensei.foundations.vocabulary import NUM_IMAGE_SLOTS, clip_tokenizer, image_slot, llama_tokenizer

CAPTION = "two people in a forest, spiky black hair glasses, one speech bubble"


@pytest.fixture(scope="module")
def clip() -> CLIPTokenizer:
    return clip_tokenizer()


@pytest.fixture(scope="module")
def llama() -> PreTrainedTokenizerFast:
    return llama_tokenizer()


def test_each_caption_word_is_one_clip_token(clip: CLIPTokenizer) -> None:
    assert all(len(clip.tokenize(word)) == 1 for word in caption_vocabulary())
    assert clip.decode(clip(CAPTION).input_ids, skip_special_tokens=True).replace(" ,", ",") == CAPTION


def test_each_caption_word_is_one_llama_token(llama: PreTrainedTokenizerFast) -> None:
    ids = llama("a " + " ".join(caption_vocabulary())).input_ids
    # BOS, the leading word, and the comma's blank, which Llama spells apart.
    assert len(ids) == 2 + len(caption_vocabulary()) + 1
    assert llama.decode(llama(CAPTION).input_ids, skip_special_tokens=True) == CAPTION


@pytest.mark.parametrize("text", ["Zanzibar 42!", "naïve café", "漫画", "~"])
def test_nothing_is_unknown(clip: CLIPTokenizer, llama: PreTrainedTokenizerFast, text: str) -> None:
    inner = clip(text).input_ids[1:-1]
    assert not {clip.bos_token_id, clip.eos_token_id} & set(inner)
    assert llama.unk_token_id not in llama(text).input_ids
    assert llama.decode(llama(text).input_ids, skip_special_tokens=True) == text


def test_clip_ends_are_the_last_two_ids_and_length_is_77(clip: CLIPTokenizer) -> None:
    assert [clip.bos_token_id, clip.eos_token_id] == [len(clip) - 2, len(clip) - 1]
    ids = clip(CAPTION * 20, padding="max_length", truncation=True).input_ids
    assert len(ids) == 77
    assert [ids[0], ids[-1]] == [clip.bos_token_id, clip.eos_token_id]


def test_merges_are_in_the_vocabulary(clip: CLIPTokenizer, llama: PreTrainedTokenizerFast) -> None:
    for tokenizer in (clip, llama):
        model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        assert model["merges"]
        assert all(left + right in model["vocab"] for left, right in model["merges"])


def test_image_slots_are_single_tokens_at_the_end(llama: PreTrainedTokenizerFast) -> None:
    tokens = ["<img>", "</img>", *(image_slot(index) for index in range(NUM_IMAGE_SLOTS))]
    ids = llama.convert_tokens_to_ids(tokens)
    assert ids == list(range(len(llama) - len(tokens), len(llama)))
    assert llama(image_slot(7), add_special_tokens=False).input_ids == [ids[9]]
    assert [llama.unk_token_id, llama.bos_token_id, llama.eos_token_id] == [0, 1, 2]


def test_saved_and_read_back(tmp_path: Path, clip: CLIPTokenizer, llama: PreTrainedTokenizerFast) -> None:
    for name, tokenizer, kind in (("clip", clip, CLIPTokenizer), ("llama", llama, PreTrainedTokenizerFast)):
        tokenizer.save_pretrained(tmp_path / name)
        again = kind.from_pretrained(tmp_path / name)
        assert again(CAPTION).input_ids == tokenizer(CAPTION).input_ids
        assert again.model_max_length == tokenizer.model_max_length
