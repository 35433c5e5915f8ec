"""What stage 2 of the reference code changes in the language model: LoRA factors, norms, embedding and head.

Names are peft's, with or without the adapter's name ``default``: ``[llm.]base_model.model.<module>.lora_A.weight``,
``.lora_B.weight``, ``.modules_to_save.weight``; parameters trained whole lack such a suffix.
"""

import re
from collections.abc import Set
from dataclasses import dataclass

from torch import Tensor

from diffsensei.foundations.reading import refuse_keys
from diffsensei.released.stored import State, StoredTensor

_RESAMPLERS = ("input_resampler.", "output_resampler.")
_PREFIX = re.compile(r"(llm\.)?base_model\.model\.")
_KIND = re.compile(r"\.(lora_A|lora_B|modules_to_save)(\.default)?\.weight$")
_UNTRAINED = (".base_layer.", ".original_module.")
"""Where peft keeps the weights it covers: in a full state dict, never in a checkpoint of what was trained."""


@dataclass(frozen=True, eq=False)
class LanguageModelChanges:
    """By name of the Llama's tensor."""

    factors: dict[str, tuple[StoredTensor, StoredTensor]]
    """(A (r, in), B (out, r)) of each adapted linear layer."""
    replaced: dict[str, StoredTensor]
    alpha: float

    def merged(self, name: str, weight: Tensor) -> Tensor:
        """The tensor ``name``: its replacement, or W + alpha / r * B A (computed in float32), or itself."""
        if name in self.replaced:
            return self.replaced[name].read()
        if name not in self.factors:
            return weight
        down, up = (factor.read().float() for factor in self.factors[name])
        return weight.float() + self.alpha / len(down) * (up @ down)

    def check(self, base: State, source: str) -> None:
        """Raises ValueError where a change has no tensor in ``base``, or another shape than that."""
        names = self.replaced.keys() | self.factors.keys()
        refuse_keys(
            source,
            missing=set(),
            unexpected=set(names - base.keys()),
            mismatched={name for name in names & base.keys() if self._shape(name) != base[name].shape},
        )

    @property
    def rank(self) -> int | None:
        """LoRA's rank; None without LoRA."""
        return next((down.shape[0] for down, _ in self.factors.values()), None)

    def _shape(self, name: str) -> tuple[int, ...]:
        if name in self.replaced:
            return self.replaced[name].shape
        down, up = self.factors[name]
        return (up.shape[0], down.shape[1]) if up.shape[1] == down.shape[0] else ()


def split_agent(state: State, alpha: float, source: str) -> tuple[State, LanguageModelChanges | None]:
    """The two resamplers' tensors, and what else there is as changes of the language model (None if nothing).

    ``alpha`` is LoRA's, which the file does not hold. Raises ValueError for half a pair of factors, factors of another
    rank than the rest, or names of neither kind.
    """
    resamplers = {name: tensor for name, tensor in state.items() if name.startswith(_RESAMPLERS)}
    rest = {name: tensor for name, tensor in state.items() if name not in resamplers}
    if not rest:
        return resamplers, None
    odd = {name for name in rest if not _PREFIX.match(name) or any(part in name for part in _UNTRAINED)}
    halves: dict[str, dict[str, StoredTensor]] = {"lora_A": {}, "lora_B": {}}
    replaced: dict[str, StoredTensor] = {}
    for name, tensor in rest.items():
        plain = _PREFIX.sub("", name, count=1)
        kind = _KIND.search(plain)
        target = plain if kind is None else f"{plain[: kind.start()]}.weight"
        (halves[kind[1]] if kind and kind[1] in halves else replaced)[target] = tensor
    down, up = halves["lora_A"], halves["lora_B"]
    paired: Set[str] = down.keys() & up.keys()
    flat = {name for name in paired if len(down[name].shape) != 2 or len(up[name].shape) != 2}
    ranks = {down[name].shape[0] for name in paired - flat}
    refuse_keys(
        source,
        missing={f"the other LoRA factor of {name}" for name in down.keys() ^ up.keys()},
        unexpected=odd,
        mismatched=flat,
    )
    if len(ranks) > 1:
        raise ValueError(f"{source}: expected LoRA factors of one rank, got ranks {sorted(ranks)}")
    return resamplers, LanguageModelChanges({name: (down[name], up[name]) for name in paired}, replaced, alpha)
