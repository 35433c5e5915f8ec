"""The libraries that die without the schemas import and work with them, each in a fresh process."""

import subprocess
import sys

import pytest
import torch

PREPARED = "import diffsensei.models.torchvision_schemas as schemas\n"


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "from torchvision.transforms.v2 import Resize; from torchvision.models import resnet18; resnet18()",
        "from transformers import CLIPModel, CLIPTextModelWithProjection, CLIPImageProcessorPil, ViTMAEModel",
        "from diffusers import StableDiffusionXLPipeline, AutoencoderKL, UNet2DConditionModel",
        "import cleanfid.fid as fid; fid.compute_fid",
    ],
    ids=["torchvision", "transformers", "diffusers", "cleanfid"],
)
def test_libraries_import(code: str) -> None:
    done = run_python(PREPARED + code)
    assert done.returncode == 0, done.stderr[-2000:]


def test_package_imports_the_schemas() -> None:
    done = run_python(
        "import sys, torch, diffsensei.models\n"
        "assert 'diffsensei.models.torchvision_schemas' in sys.modules and 'torchvision' not in sys.modules\n"
        "print(torch.ops.torchvision.nms.default._schema)"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" in done.stdout


def test_nothing_is_declared_on_a_cuda_build() -> None:
    done = run_python("import torch\ntorch.version.cuda = '13.0'\n" + PREPARED + "assert schemas.LIBRARY is None")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(torch.version.cuda is not None, reason="the schemas are declared on CPU builds only")
def test_another_torchvision_is_refused_in_one_line() -> None:
    done = run_python(
        "import importlib.metadata as metadata\n"
        "real = metadata.version\n"
        "metadata.version = lambda name: '0.99.1' if name == 'torchvision' else real(name)\n" + PREPARED
    )
    message = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert message.startswith("ImportError: torchvision 0.99.1")
    assert "constraints.txt" in message
