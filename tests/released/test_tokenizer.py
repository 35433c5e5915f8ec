"""SentencePiece's files and ``tokenizer.json`` give the same ids, those of the release."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor

from diffsensei.models.identity_prompt import IdentityPrompts
from diffsensei.released.tokenizer import load_llm_tokenizer


@pytest.fixture
def folder(release: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(release.folder / "mllm" / "tokenizer", tmp_path / "tokenizer"))


def test_added_tokens_have_the_ids_their_file_gives_them(folder: Path) -> None:
    tokenizer = load_llm_tokenizer(folder)
    for token, number in json.loads((folder / "added_tokens.json").read_text()).items():
        assert tokenizer.convert_tokens_to_ids(token) == number
        assert tokenizer.convert_ids_to_tokens(number) == token
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)


@pytest.mark.parametrize("caption", ["a boy runs", "boy", "a  boy ", "é run\nbun", ""])
def test_captions_are_cut_as_sentencepiece_cuts_them(folder: Path, caption: str) -> None:
    """But for leading blanks, of which transformers' tokenizer keeps one less."""
    reference = SentencePieceProcessor(str(folder / "tokenizer.model"))
    assert load_llm_tokenizer(folder).encode(caption, add_special_tokens=False) == reference.encode(caption)


def test_a_prompt_is_that_of_the_release(folder: Path) -> None:
    """BOS, caption, newline, <img> 16 slots </img>, newline, blank, <img> 16 slots </img>, EOS."""
    prompts = IdentityPrompts(load_llm_tokenizer(folder), 16, 77).encode(["a boy"])
    slots = list(range(276, 292))
    image = [274, *slots, 275]
    newline, blank = 3 + 10, 266
    assert prompts.token_ids[0].tolist() == [1, 259, 262, newline, *image, newline, blank, *image, 2]


def test_tokenizer_json_is_read_as_it_stands(folder: Path, tmp_path: Path) -> None:
    tokenizer = load_llm_tokenizer(folder)
    tokenizer.save_pretrained(tmp_path / "json")
    assert not (tmp_path / "json" / "tokenizer.model").exists()
    again = load_llm_tokenizer(tmp_path / "json")
    for caption in ("a boy <img_00001> runs", "é", ""):
        assert again.encode(caption) == tokenizer.encode(caption)
    assert again.get_vocab() == tokenizer.get_vocab()


def test_tokens_that_do_not_continue_the_model_are_refused(folder: Path) -> None:
    added = folder / "added_tokens.json"
    ids = json.loads(added.read_text())
    added.write_text(json.dumps({token: number + 5 for token, number in ids.items()}))
    with pytest.raises(ValueError, match="both files must come from one tokenizer") as error:
        load_llm_tokenizer(folder)
    assert "\n" not in str(error.value)


def test_damaged_and_absent_files_are_one_line(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.model").write_bytes(b"\xff\xffno model")
    with pytest.raises(ValueError, match=r"tokenizer\.model: cannot be read") as error:
        load_llm_tokenizer(folder)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="found neither"):
        load_llm_tokenizer(tmp_path)


def test_a_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ValueError, match="pip install sentencepiece protobuf"):
        load_llm_tokenizer(folder)
