"""LLaVA-NeXT in this process: greedy, in padded batches (paper sec. 3.2: LLaVA-v1.6-34B)."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image

from diffsensei.config.schema import CaptionerConfig
from diffsensei.data.annotation.captioner import Answer, judged
from diffsensei.data.images import Gray
from diffsensei.foundations.loading import VisionLanguageModel, load_llava_next


class LlavaCaptioner:
    """A `Captioner`. bfloat16 on a GPU, float32 on the CPU."""

    def __init__(self, loaded: VisionLanguageModel, config: CaptionerConfig) -> None:
        self.batch_size = config.batch_size
        # The library's annotations of templates and generation do not fit its own classes.
        self._processor: Any = loaded.processor
        self._model: Any = loaded.model
        self._max_new_tokens = config.max_new_tokens
        content = [{"type": "image"}, {"type": "text", "text": config.prompt}]
        conversation: Any = [{"role": "user", "content": content}]
        self._prompt: str = self._processor.apply_chat_template(conversation, add_generation_prompt=True)
        ends = self._model.generation_config.eos_token_id
        self._ends = set(ends) if isinstance(ends, list) else {ends}

    @classmethod
    def load(cls, config: CaptionerConfig) -> "LlavaCaptioner":
        """From `CaptionerConfig.model`. Raises ValueError (one line) that says what to set."""
        gpu = torch.cuda.is_available()
        with naming_the_model():
            loaded = load_llava_next(config.model, torch.bfloat16 if gpu else torch.float32)
        torch.nn.Module.to(loaded.model, "cuda" if gpu else "cpu")
        return cls(loaded, config)

    def answer(self, batches: Sequence[Sequence[Gray]]) -> Iterator[tuple[int, list[Answer]]]:
        """See `Captioner`; batch by batch, in order."""
        for number, batch in enumerate(batches):
            yield number, self._generate(batch)

    @torch.inference_mode()
    def _generate(self, crops: Sequence[Gray]) -> list[Answer]:
        began = time.monotonic()
        images = [Image.fromarray(crop).convert("RGB") for crop in crops]
        inputs = self._processor(images=images, text=[self._prompt] * len(crops), padding=True, return_tensors="pt")
        inputs = inputs.to(self._model.device, self._model.dtype)
        generated = self._model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=self._max_new_tokens)
        rows = generated[:, inputs["input_ids"].shape[1] :].tolist()
        seconds = (time.monotonic() - began) / len(crops)
        return [self._read(row, seconds) for row in rows]

    def _read(self, row: list[int], seconds: float) -> Answer:
        """Tokens up to the first that ends an answer; what follows it is padding."""
        end = next((place for place, token in enumerate(row) if token in self._ends), None)
        text = self._processor.decode(row[:end], skip_special_tokens=True)
        return judged(text, tokens=len(row[:end]), truncated=end is None, seconds=seconds)


@contextmanager
def naming_the_model() -> Iterator[None]:
    """A captioner that cannot be had is an error of the configuration, and says which fields to set."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            "data.annotation.captioner.model: expected a LLaVA-NeXT as a folder or as a hub id in the hub's cache; "
            f"{error}; set data.annotation.captioner.model=<folder or hub id>, or let a server caption with "
            "data.annotation.captioner.backend=openai and data.annotation.captioner.server=<base url>"
        ) from error
