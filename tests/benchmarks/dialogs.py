"""The dialog embedding, forward and backward: one mask against a slice per box."""

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import torch
from torch import Tensor

from diffsensei.models.conditions import Layout
from diffsensei.models.dialog_layouts import EmbeddedDialogs
from tests.benchmarks.interleaved import Case
from tests.benchmarks.per_box import add_dialog_embedding

CHANNELS, DIALOGS = 320, 8


def cases() -> Iterator[Case]:
    for pixels, batch, goal in ((256, 8, 2.0), (512, 2, 2.0), (1024, 1, 1.0)):
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(batch, CHANNELS, pixels // 8, pixels // 8, generator=generator, requires_grad=True)
        boxes = torch.rand(batch, DIALOGS, 2, 2, generator=generator).sort(dim=2).values.flatten(2)
        embedding = torch.randn(CHANNELS, generator=generator, requires_grad=True)
        yield Case(
            name=f"dialog embedding with gradients, {pixels} px, batch {batch}",
            check=partial(_check, features, boxes, embedding),
            plain=partial(_gradients, add_dialog_embedding, features, boxes, embedding),
            ours=partial(_gradients, _ours, features, boxes, embedding),
            goal=goal,
        )


def _ours(features: Tensor, boxes: Tensor, embedding: Tensor) -> Tensor:
    """What the UNet does beside its first convolution: the shift travels behind the latents' channels."""
    batch = len(boxes)
    layout = Layout(
        torch.zeros(batch, 1, 4), torch.zeros(batch, 1) > 0, boxes, torch.ones(boxes.shape[:2], dtype=torch.bool)
    )
    latents = features.new_zeros(batch, 4, *features.shape[-2:])
    latents, _ = EmbeddedDialogs().inputs(SimpleNamespace(dialog_bbox_embedding=embedding), latents, layout)
    return features + latents[:, 4:]


def _gradients(add: object, features: Tensor, boxes: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
    """Result, and its gradients by features and embedding."""
    added: Tensor = add(features, boxes, embedding)  # type: ignore[operator]
    return added, *torch.autograd.grad(added.square().mean(), (features, embedding))


def _check(features: Tensor, boxes: Tensor, embedding: Tensor) -> None:
    plain = _gradients(add_dialog_embedding, features, boxes, embedding)
    ours = _gradients(_ours, features, boxes, embedding)
    assert torch.equal(plain[0], ours[0])
    assert torch.equal(plain[1], ours[1])
    torch.testing.assert_close(plain[2], ours[2], atol=5e-5, rtol=0)
