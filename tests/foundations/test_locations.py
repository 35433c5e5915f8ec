from pathlib import Path

import pytest

from diffsensei.foundations.locations import WEIGHTS, foundation_digest, resolve


def test_embedded_names_are_folders_of_the_package() -> None:
    location = resolve("embedded:vae")
    assert location.folder() == WEIGHTS / "vae"
    assert not location.is_hub


def test_unknown_embedded_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'embedded:vea' is not embedded; known: .*judge_clip.*vae$"):
        resolve("embedded:vea")


def test_folder(tmp_path: Path) -> None:
    location = resolve(str(tmp_path))
    assert location.folder() == tmp_path
    assert location.subfolder is None


@pytest.mark.parametrize("reference", ["/no/such/folder", "./no/such/folder", "~/no/such/folder"])
def test_missing_folder_is_named(reference: str) -> None:
    with pytest.raises(ValueError, match=f"folder '{reference}' does not exist"):
        resolve(reference)


def test_hub_id_with_and_without_subfolder() -> None:
    plain = resolve("facebook/dinov2-base")
    assert (plain.source, plain.subfolder, plain.is_hub) == ("facebook/dinov2-base", None, True)
    nested = resolve("AILab-CVC/SEED-X-17B/seed_x/llm")
    assert (nested.source, nested.subfolder) == ("AILab-CVC/SEED-X-17B", "seed_x/llm")


@pytest.mark.parametrize("reference", ["", "vae", "https://host/x", "a b/c"])
def test_what_is_no_reference_is_refused_in_one_line(reference: str) -> None:
    with pytest.raises(ValueError, match=r"^expected 'embedded:<name>', a folder or 'owner/name\[/subfolder\]'"):
        resolve(reference)


def test_tokenizer_lies_beside_the_text_encoders(tmp_path: Path) -> None:
    (tmp_path / "text_encoder_2").mkdir()
    (tmp_path / "llm").mkdir()
    assert resolve(str(tmp_path / "text_encoder_2")).tokenizer_beside().folder() == tmp_path / "tokenizer_2"
    assert resolve(str(tmp_path / "llm")).tokenizer_beside().folder() == tmp_path / "llm"
    assert resolve("owner/sdxl/text_encoder").tokenizer_beside().subfolder == "tokenizer"
    assert resolve("owner/sdxl/a/text_encoder").tokenizer_beside().subfolder == "a/tokenizer"
    assert resolve("embedded:text_encoder").tokenizer_beside().folder() == WEIGHTS / "tokenizer"


def test_digest_follows_content_not_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    first, second = str(tmp_path / "one"), str(tmp_path / "two")
    assert foundation_digest([first]) == foundation_digest([second])
    (tmp_path / "two" / "config.json").write_text('{"a": 1}')
    assert foundation_digest([first]) != foundation_digest([second])


def test_digest_covers_the_tokenizer_beside(tmp_path: Path) -> None:
    for name in ("text_encoder", "tokenizer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    before = foundation_digest([str(tmp_path / "text_encoder")])
    (tmp_path / "tokenizer" / "config.json").write_text("[]")
    assert foundation_digest([str(tmp_path / "text_encoder")]) != before


def test_digest_of_words_hub_ids_and_files(tmp_path: Path) -> None:
    digests = {foundation_digest([reference]) for reference in ("none", "random", "owner/name", "owner/name/part")}
    file = tmp_path / "features.pt"
    file.write_bytes(b"one")
    before = foundation_digest([str(file)])
    file.write_bytes(b"two")
    assert len(digests | {before, foundation_digest([str(file)])}) == 6
    assert foundation_digest(["none", "random"]) != foundation_digest(["random", "none"])
