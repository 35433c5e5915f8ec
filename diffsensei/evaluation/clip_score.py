"""CLIP (paper, section 5.1): does the panel show what its caption says?

cos(image embedding, text embedding) of one CLIP model, not multiplied and not clamped, averaged over the panels that
have a caption (the raw form of CLIPScore, Hessel et al. 2021; the paper's values of 0.17 to 0.26 are on this scale).
Captions are cut at the text encoder's length. The paper names no CLIP variant, so its values and those of another
variant are not comparable.
"""

from diffsensei.evaluation.results import MetricDefinition

CLIP = MetricDefinition(
    name="clip",
    label="CLIP",
    definition="cosine of the panel's and its caption's CLIP embeddings, mean over panels",
    unit="cosine, -1 to 1",
    higher_is_better=True,
    source="paper, section 5.1; raw CLIPScore (Hessel et al. 2021)",
)
NO_CAPTION = "no caption"


def further_clip(number: int, reference: str) -> MetricDefinition:
    """The same of another model: ``number`` counts from 2. The model moves the figure by more than most methods do."""
    return CLIP.replaced(
        name=f"clip_{number}", label=f"CLIP ({reference.rpartition('/')[2].removeprefix('embedded:')})", group="variant"
    )
