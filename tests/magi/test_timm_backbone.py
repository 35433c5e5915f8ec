"""torchvision's ResNets carry timm's names and arithmetic, and are installed."""

import pytest
import torch
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from transformers import ResNetBackbone

from diffsensei.magi.timm_backbone import RESNETS, rename_timm_resnet, resnet_config

PREFIX = "backbone.model."


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_renamed_weights_give_the_same_features(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer_type, _ = RESNETS[name]
    # One block a stage, and in one stage two: shortcuts with and without a projection.
    depths = [1, 2, 1, 1]
    monkeypatch.setitem(RESNETS, name, (layer_type, depths))
    torch.manual_seed(0)
    original = ResNet(BasicBlock if layer_type == "basic" else Bottleneck, depths).eval()
    for module in original.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1)
    stored = {PREFIX + key: value for key, value in original.state_dict().items() if not key.startswith("fc.")}
    renamed = rename_timm_resnet(stored | {"backbones.conv1.weight": torch.zeros(1)}, PREFIX)
    assert "backbones.conv1.weight" in renamed
    own = ResNetBackbone(resnet_config(name)).eval()
    own.load_state_dict({key.removeprefix(PREFIX): value for key, value in renamed.items() if key.startswith(PREFIX)})
    pixels = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        x = original.maxpool(original.relu(original.bn1(original.conv1(pixels))))
        expected = original.layer4(original.layer3(original.layer2(original.layer1(x))))
        (found,) = own(pixels).feature_maps
    torch.testing.assert_close(found, expected)


def test_names_timm_does_not_have_stay() -> None:
    for key in ("encoder.stages.0.layers.0.layer.0.convolution.weight", "layer1.conv1.weight", "fc.weight"):
        assert list(rename_timm_resnet({PREFIX + key: torch.zeros(1)}, PREFIX)) == [PREFIX + key]


def test_other_backbones_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a backbone of resnet18, .*, got 'swin_tiny'"):
        resnet_config("swin_tiny")
