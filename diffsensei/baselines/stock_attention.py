"""Stock attention for the layers of a UNet that a method leaves alone."""

from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor


class StockAttention(AttnProcessor2_0):
    """Accepts, and has no use for, the condition that diffusers hands to every layer of a block."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        condition: object = None,
    ) -> Tensor:
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
