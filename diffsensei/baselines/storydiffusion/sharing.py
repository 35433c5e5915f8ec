"""Consistent self-attention: the panels of a page read samples of each other's tokens (paper sec. 3.1).

The identity panels are drawn together and read each other; what they leave behind is banked, and every later panel
reads the bank. Nobody's own tokens are ever sampled away. Legend: n identity panels, R branches of guidance (which
never read one another), L tokens of a layer, k of them sampled, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor

from diffsensei.baselines.stock_attention import StockAttention
from diffsensei.config.baselines import SharingConfig
from diffsensei.seeding import numpy_stream

Bank = dict[tuple[int, str], Tensor]
"""(step, layer) -> tokens (R, m, C) that the identity panels left there."""


@dataclass(frozen=True)
class Schedule:
    """Which tokens are sampled and which calls share at all: functions of (page seed, step, layer)."""

    config: SharingConfig
    seed: int

    def shares(self, step: int, layer: str, phase: str) -> bool:
        """Whether ``layer`` shares in this call: with a probability that rises once the layout stands."""
        early = step < self.config.early_steps
        rate = self.config.early_rate if early else self.config.late_rate
        return bool(numpy_stream(self.seed, "shared attention", phase, step, layer).random() < rate)

    def sampled(self, step: int, count: int, num_tokens: int) -> NDArray[np.int64]:
        """(count, k) rows of the tokens that others see of each panel: one sample a step for all layers of a size."""
        num_sampled = round(self.config.sample_rate * num_tokens)
        stream = numpy_stream(self.seed, "shared tokens", step, num_tokens)
        return np.stack([np.sort(stream.permutation(num_tokens)[:num_sampled]) for _ in range(count)])


@dataclass
class Together:
    """The identity panels, drawn as one batch of R x n; fills ``bank``."""

    schedule: Schedule
    count: int
    bank: Bank = field(default_factory=dict)
    step: int = 0

    def context(self, layer: str, tokens: Tensor) -> Tensor:
        """What queries of ``tokens`` (R*n, L, C) read: own tokens behind the others' sampled ones (R*n, m + L, C)."""
        of_branches = tokens.unflatten(0, (-1, self.count))
        num_branches, _, num_tokens, width = of_branches.shape
        unshared = self.step < self.schedule.config.unshared_steps
        if unshared:
            # Later panels read all of these first states, so they are banked whole.
            self.bank[self.step, layer] = of_branches.flatten(1, 2)
            return tokens
        rows = torch.from_numpy(self.schedule.sampled(self.step, self.count, num_tokens)).to(tokens.device)
        index = rows[None, :, :, None].expand(num_branches, -1, -1, width)
        sampled = of_branches.gather(2, index)
        self.bank[self.step, layer] = sampled.flatten(1, 2)
        if not self.schedule.shares(self.step, layer, "together"):
            return tokens
        others = [[other for other in range(self.count) if other != panel] for panel in range(self.count)]
        of_others = sampled[:, torch.tensor(others, dtype=torch.long, device=tokens.device)]
        return torch.cat([of_others.flatten(2, 3).flatten(0, 1), tokens], dim=1)


@dataclass
class Following:
    """Later panels, R x any number of them: each reads the ``bank`` and itself."""

    schedule: Schedule
    bank: Bank
    step: int = 0

    def context(self, layer: str, tokens: Tensor) -> Tensor:
        """What queries of ``tokens`` (R*b, L, C) read: the bank of this step and their own tokens (R*b, m + L, C)."""
        banked = self.bank[self.step, layer]
        always = self.step < self.schedule.config.unshared_steps
        if not always and not self.schedule.shares(self.step, layer, "following"):
            return tokens
        return torch.cat([banked.repeat_interleave(len(tokens) // len(banked), dim=0), tokens], dim=1)


Sharing = Together | Following


class SharedSelfAttention:
    """Stock self-attention whose keys and values may come from other panels as well."""

    def __init__(self, layer: str) -> None:
        self._layer = layer

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        condition: Sharing | None = None,
    ) -> Tensor:
        """``hidden_states`` (B, L, inner) -> (B, L, inner)."""
        assert encoder_hidden_states is None, "self-attention has no text"
        context = hidden_states if condition is None else condition.context(self._layer, hidden_states)
        query, key, value = (
            layer(tokens).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer, tokens in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](mixed))


def share_self_attention(unet: UNet2DConditionModel) -> None:
    """Let the self-attention of the up blocks share, in place; down and middle blocks stay (reference code)."""
    processors: dict[str, Callable[..., Tensor]] = {}
    for name in unet.attn_processors:
        shares = name.startswith("up_blocks.") and name.endswith("attn1.processor")
        processors[name] = SharedSelfAttention(name) if shares else StockAttention()
    unet.set_attn_processor(processors)  # type: ignore[arg-type]
