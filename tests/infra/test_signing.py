"""Signatures over a folder: right key, every file, nothing more."""

import shutil
from pathlib import Path

import pytest

from infra.signing import check_signature, sign
from tests.infra.signing_keys import new_keys

pytest.importorskip("model_signing.signing", reason="model-signing is not installed: signatures are not tested")


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A signed folder, its signature inside, and the public key."""
    private, public = new_keys(tmp_path, "maker")
    folder = tmp_path / "release"
    (folder / "certification").mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "certification" / "certificate.json").write_text("{}")
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    sign(files, private, tmp_path / "signature")
    shutil.move(tmp_path / "signature", folder / "certification" / "signature.json")
    return folder, folder / "certification" / "signature.json", public


def test_a_whole_folder_holds_for_its_key_only(signed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    folder, signature, public = signed
    check_signature(folder, signature, public)
    _, other = new_keys(tmp_path, "other")
    with pytest.raises(ValueError, match=r"does not hold for other\.pub"):
        check_signature(folder, signature, other)


def test_changed_added_and_removed_files_are_found(signed: tuple[Path, Path, Path]) -> None:
    folder, signature, public = signed
    weights = folder / "weights.safetensors"
    weights.write_bytes(b"weightz")
    with pytest.raises(ValueError, match="does not hold"):
        check_signature(folder, signature, public)
    weights.write_bytes(b"weights")
    check_signature(folder, signature, public)
    (folder / "more.py").write_text("")
    with pytest.raises(ValueError, match="does not hold"):
        check_signature(folder, signature, public)
    (folder / "more.py").unlink()
    weights.unlink()
    with pytest.raises(ValueError, match="does not hold"):
        check_signature(folder, signature, public)


def test_what_is_no_key_and_no_signature_is_said(signed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    folder, signature, public = signed
    with pytest.raises(ValueError, match="expected a key in PEM"):
        sign({}, tmp_path / "absent.pem", tmp_path / "signature")
    with pytest.raises(ValueError, match="is not signed"):
        check_signature(folder, tmp_path / "absent", public)
    (tmp_path / "no.pem").write_text("no key")
    with pytest.raises(ValueError, match=r"no\.pem cannot sign"):
        sign({"a": signature}, tmp_path / "no.pem", tmp_path / "signature")
