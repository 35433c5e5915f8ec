import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffsensei.release.manifest import MANIFEST, check_manifest, write_manifest
from diffsensei.release.verify import verify_bundle


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(bundle, tmp_path / "copy")
    return tmp_path / "copy"


def _verify(bundle: Path, base: Path) -> dict[str, object]:
    for name in ("workspace", "output"):
        (base / name).mkdir()
    verify_bundle(bundle=bundle, workspace=base / "workspace", output=base / "output")
    return json.loads((base / "output" / "verification.json").read_text())


def test_a_good_bundle_passes_wherever_it_lies(copy: Path, tmp_path: Path) -> None:
    certificate = _verify(copy, tmp_path)
    assert certificate["passed"] is True
    assert certificate["max_difference"] <= 1


@pytest.mark.slow
def test_a_good_bundle_passes_in_a_process_of_its_own(copy: Path, tmp_path: Path) -> None:
    for name in ("workspace", "output"):
        (tmp_path / name).mkdir()
    code = (
        "from pathlib import Path; from diffsensei.release.verify import verify_bundle; import sys; "
        "verify_bundle(bundle=Path(sys.argv[1]), workspace=Path(sys.argv[2]), output=Path(sys.argv[3]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(copy), str(tmp_path / "workspace"), str(tmp_path / "output")],
        check=True,
        timeout=300,
    )
    assert json.loads((tmp_path / "output" / "verification.json").read_text())["passed"]


def test_one_flipped_byte_is_found(copy: Path) -> None:
    path = copy / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"unet/diffusion_pytorch_model.safetensors has sha256"):
        check_manifest(copy)


def test_missing_extra_and_unlisted_files_are_found(copy: Path) -> None:
    (copy / "extra.py").write_text("print()")
    with pytest.raises(ValueError, match=r"extra\.py is not in the manifest"):
        check_manifest(copy)
    (copy / "extra.py").unlink()
    (copy / "README.md").unlink()
    with pytest.raises(ValueError, match=r"README\.md is missing"):
        check_manifest(copy)
    (copy / MANIFEST).unlink()
    with pytest.raises(ValueError, match="is no bundle"):
        check_manifest(copy)


def test_weights_that_draw_another_sample_are_refused_even_with_fresh_checksums(copy: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = copy / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    state["conv_out.bias"] = state["conv_out.bias"] + 0.5
    save_file(state, path, metadata={"format": "pt"})
    write_manifest(copy, "diffsensei-tiny", "0.1.0")
    with pytest.raises(ValueError, match="pixels differ by up to"):
        _verify(copy, tmp_path)


def test_a_sample_of_another_size_is_refused(copy: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(copy / "sample" / "sample.png")
    write_manifest(copy, "diffsensei-tiny", "0.1.0")
    with pytest.raises(ValueError, match=r"expected \(32, 32\), drew \(64, 64\)"):
        _verify(copy, tmp_path)
