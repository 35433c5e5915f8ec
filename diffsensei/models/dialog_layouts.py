"""How the UNet is told where dialogs are: an embedding drawn into their boxes, or the alternatives of Table 3."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from diffsensei.models.box_embedding import BoxEmbedding
from diffsensei.models.box_masks import dialog_mask
from diffsensei.models.conditions import Layout

EMBEDDING_STD = 1.0
"""As in the reference code: about the spread of a trained UNet's first features, so dialogs show from the first step.

With 0.02 the embedding of preset tiny reached a tenth of that spread in 1100 steps, and dialogs stayed vague.
"""

Kwargs = dict[str, Any]


class DialogLayout(Protocol):
    """How boxes decide where dialogs go. Holds no reference to the network."""

    def install(self, unet: Any) -> None:
        """Add what it learns to ``unet``, in place."""
        ...

    def inputs(self, unet: Any, latents: Tensor, layout: Layout) -> tuple[Tensor, Kwargs]:
        """The latents (B, C, h, w) to hand to the stock forward in place of ``latents``, and more arguments for it."""
        ...


class EmbeddedDialogs:
    """A learnt vector is added to the first features inside every dialog box (paper sec. 4.1).

    The paper adds it to the noised latents; here it is added after the first convolution, as in the reference code,
    under whose name released weights hold it: ``dialog_bbox_embedding`` (C0,).
    """

    def install(self, unet: Any) -> None:
        plain = unet.conv_in
        assert plain.kernel_size == (3, 3), "SDXL's first convolution"
        unet.conv_in = DialogConv2d(plain.in_channels, plain.out_channels, kernel_size=3, padding=1, device="meta")
        unet.conv_in.weight, unet.conv_in.bias = plain.weight, plain.bias
        embedding = torch.empty(plain.out_channels, dtype=plain.weight.dtype, device=plain.weight.device)
        unet.register_parameter("dialog_bbox_embedding", nn.Parameter(embedding.normal_(std=EMBEDDING_STD)))

    def inputs(self, unet: Any, latents: Tensor, layout: Layout) -> tuple[Tensor, Kwargs]:
        """The embedding, where dialogs are, behind the latents' channels; `DialogConv2d` adds it."""
        inside = dialog_mask(layout.dialog_boxes, layout.dialog_exists, *latents.shape[-2:])
        shift = inside * unet.dialog_bbox_embedding[:, None, None]
        return torch.cat([latents, shift.to(latents.dtype)], dim=1), {}


class DialogConv2d(nn.Conv2d):
    """``conv_in`` that adds to its output whatever follows its own channels in the input."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, in [+ out], h, w) -> (B, out, h, w)."""
        latents, shift = input[:, : self.in_channels], input[:, self.in_channels :]
        features = super().forward(latents)
        return features + shift.to(features.dtype) if shift.shape[1] else features


class FourierDialogs:
    """Table 3's alternative: Fourier embeddings of the dialog boxes go into the timestep embedding.

    Summed over a panel's dialogs, as their number varies, and added before the embedding's own network, where SDXL
    has a place for a condition: ``time_embedding.cond_proj``.
    """

    def install(self, unet: Any) -> None:
        embedding = unet.time_embedding
        assert embedding.cond_proj is None, "SDXL's timestep embedding has no condition of its own"
        embedding.cond_proj = SummedBoxes(embedding.linear_1.in_features).to(unet.device, unet.dtype)

    def inputs(self, unet: Any, latents: Tensor, layout: Layout) -> tuple[Tensor, Kwargs]:
        boxes = torch.cat([layout.dialog_boxes.float(), layout.dialog_exists.float().unsqueeze(-1)], dim=-1)
        return latents, {"timestep_cond": boxes}


class SummedBoxes(nn.Module):
    """Any number of boxes as one vector."""

    def __init__(self, output_dim: int) -> None:
        super().__init__()
        self.box_embedding = BoxEmbedding(output_dim)

    def forward(self, boxes: Tensor) -> Tensor:
        """(B, M, 4 + 1), the last channel 1 where the box exists -> (B, output_dim)."""
        return self.box_embedding(boxes[..., :4], boxes[..., 4] > 0).sum(dim=1)


class DialogsAnywhere:
    """No layout: the UNet hears nothing of dialogs."""

    def install(self, unet: Any) -> None:
        """Nothing to learn."""

    def inputs(self, unet: Any, latents: Tensor, layout: Layout) -> tuple[Tensor, Kwargs]:
        return latents, {}


DIALOG_LAYOUTS: dict[str, DialogLayout] = {
    "mask": EmbeddedDialogs(),
    "fourier": FourierDialogs(),
    "none": DialogsAnywhere(),
}
"""By the name that the configuration gives them."""
