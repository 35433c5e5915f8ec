"""What SEED-Story minimises: words and features of the next panel, then the de-tokenizer's epsilon loss on them."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from diffsensei.baselines.seed_story.detokenizer import FeatureResampler
from diffsensei.baselines.seed_story.language import StoryLanguage, Told
from diffsensei.baselines.seed_story.resamplers import cosine_loss
from diffsensei.baselines.seed_story.visual import VisualEncoder
from diffsensei.models.conditions import Conditions
from diffsensei.models.diffusion_loss import DiffusionLoss
from diffsensei.training.story_batch import StoryBatch

KEYS_AND_VALUES = (".to_k.", ".to_v.")


class StoryLanguageObjective(nn.Module):
    """Trains what ``language`` declares trainable: cross-entropy of the words, 1 - cos of the features."""

    def __init__(self, language: StoryLanguage, visual: VisualEncoder) -> None:
        super().__init__()
        self.language = language
        self._visual = visual

    def forward(self, batch: StoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        told, target = tell(self.language, self._visual, batch, generator)
        rec_loss = cosine_loss(told.features, target)
        return {"loss": told.lm_loss + rec_loss, "lm_loss": told.lm_loss, "rec_loss": rec_loss}


class DetokenizerObjective(nn.Module):
    """Trains ``resampler``, and all keys and values of ``unet``, on what the language model tells; it is frozen."""

    def __init__(
        self,
        language: StoryLanguage,
        visual: VisualEncoder,
        unet: UNet2DConditionModel,
        resampler: FeatureResampler,
        drop_rate: float,
        scaling_factor: float,
    ) -> None:
        super().__init__()
        self.language = language.requires_grad_(False)
        self.unet, self.resampler = unet.requires_grad_(False), resampler.requires_grad_(True)
        for name, parameter in unet.named_parameters():
            parameter.requires_grad_(any(part in name for part in KEYS_AND_VALUES))
        self._visual, self._drop_rate = visual, drop_rate
        self._diffusion_loss = DiffusionLoss(scaling_factor)
        self.blank: Tensor
        self.register_buffer("blank", visual.blank(), persistent=False)

    def forward(self, batch: StoryBatch, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            features = tell(self.language, self._visual, batch, generator)[0].features
        luck = torch.rand(len(features), generator=generator, device=generator.device).to(features.device)
        dropped = (luck < self._drop_rate)[:, None, None]
        prompt, pooled = self.resampler(torch.where(dropped, self.blank.to(features.dtype), features))
        conditions = Conditions(prompt, pooled, batch.time_ids)
        return {"loss": self._diffusion_loss(self.unet, batch.moments, conditions, generator)}


def tell(
    language: StoryLanguage, visual: VisualEncoder, batch: StoryBatch, generator: torch.Generator
) -> tuple[Told, Tensor]:
    """What ``language`` tells of the panels after some of those before, and their own features (B, P, D)."""
    assert batch.images is not None
    available = batch.earlier_exists.sum(dim=1)
    luck = torch.rand(len(available), generator=generator, device=generator.device).to(available.device)
    counts = (luck * (available + 1)).long().tolist()
    found = available.tolist()
    spans = [slice(end - count, end) for end, count in zip(found, counts, strict=True)]
    images = torch.cat([rows[span] for rows, span in zip(batch.earlier_images, spans, strict=True)])
    spelt = language.prompts.caption_ids
    earlier = [[spelt(text) for text in texts[span]] for texts, span in zip(batch.earlier_captions, spans, strict=True)]
    features = visual.encode(torch.cat([images, batch.images]))
    context, target = features[: len(images)], features[len(images) :]
    return language(earlier, [spelt(caption) for caption in batch.captions], context), target
