"""The language model's tokenizer: ``tokenizer.json``, or SentencePiece's ``tokenizer.model`` as in the release."""

from importlib.util import find_spec
from pathlib import Path

from transformers import LlamaTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from diffsensei.released.layout import read_object

_ADDED = "added_tokens.json"


def load_llm_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Reads ``tokenizer.json`` as it stands; else ``tokenizer.model`` with the ids of ``added_tokens.json``.

    Raises ValueError if there is neither, a package for the latter is missing, or the ids come out otherwise.
    """
    if (folder / "tokenizer.json").is_file():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    if not (folder / "tokenizer.model").is_file():
        raise ValueError(f"expected tokenizer.json or tokenizer.model in {folder}, found neither; download that folder")
    absent = [package for package in ("sentencepiece", "google.protobuf") if find_spec(package) is None]
    if absent:
        raise ValueError(
            f"{folder / 'tokenizer.model'}: reading it needs the packages sentencepiece and protobuf; "
            "`pip install sentencepiece protobuf`, or put a tokenizer.json into that folder"
        )
    try:
        tokenizer = LlamaTokenizer.from_pretrained(folder)
    except (ValueError, RuntimeError, OSError, LookupError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ValueError(f"{folder / 'tokenizer.model'}: cannot be read ({reason}); download the file again") from None
    if (folder / _ADDED).is_file():
        wanted = read_object(folder / _ADDED)
        vocabulary = tokenizer.get_vocab()
        wrong = [f"{token} {vocabulary.get(token)} (not {number})" for token, number in wanted.items()]
        wrong = [text for text, token in zip(wrong, wanted, strict=True) if vocabulary.get(token) != wanted[token]]
        if wrong:
            raise ValueError(
                f"{folder / _ADDED}: added tokens do not continue tokenizer.model: {', '.join(wrong[:3])} "
                f"({len(wrong)} in all); both files must come from one tokenizer"
            )
    return tokenizer
