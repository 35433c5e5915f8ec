"""Tokenizers in the formats of CLIP and Llama, trained so that every word of the drawn captions is one token.

Any other text is spelt out in bytes; nothing is unknown.
"""

import json
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from diffsensei.data.synthetic.captions import caption_vocabulary

CLIP_LENGTH = 77
NUM_IMAGE_SLOTS = 64
START, END = "<|startoftext|>", "<|endoftext|>"
_MANY = 100_000
"""More tokens than the merges of these words can make: merging goes on until each word is whole."""


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer over the captions' words, two special tokens at the end of the vocabulary, 77 tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Each byte is a token inside and at the end of a word; naming them first fixes their numbers.
    single = [*alphabet, *(f"{byte}</w>" for byte in alphabet)]
    trainer = trainers.BpeTrainer(
        vocab_size=_MANY, special_tokens=single, end_of_word_suffix="</w>", show_progress=False
    )
    trained.train_from_iterator([" ".join(caption_vocabulary())], trainer)
    vocabulary, merges = _parts(trained)
    for special in (START, END):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=CLIP_LENGTH,
    )


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """Llama's kind of tokenizer (pieces that begin with U+2581, bytes as fallback) with 64 image slots.

    ``<unk>``, ``<s>`` and ``</s>`` are 0, 1 and 2, as Llama's; ``<img>``, ``</img>``, ``<img_00000>`` ... come last.
    """
    words = [word if word == "," else f"▁{word}" for word in caption_vocabulary()]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    alphabet = ["▁", *(chr(code) for code in range(33, 127))]
    trained.train_from_iterator(
        [" ".join(words)], trainers.BpeTrainer(vocab_size=_MANY, initial_alphabet=alphabet, show_progress=False)
    )
    pieces, merges = _parts(trained)
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: index for index, token in enumerate([*first, *pieces])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    image_tokens = ["<img>", "</img>", *(image_slot(index) for index in range(NUM_IMAGE_SLOTS))]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<unk>",
        extra_special_tokens=image_tokens,
        padding_side="right",
    )


def image_slot(index: int) -> str:
    """The token of image slot ``index``."""
    return f"<img_{index:05d}>"


def _parts(tokenizer: Tokenizer) -> tuple[dict[str, int], Any]:
    """Vocabulary (in order of its ids) and merges of a trained BPE."""
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    merges = [(left, right) for left, right in model["merges"]]
    assert all(left + right in vocabulary for left, right in merges)
    return vocabulary, merges
