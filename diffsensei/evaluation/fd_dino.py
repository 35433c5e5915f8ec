"""FD-DINOv2: the Frechet distance on DINOv2's class tokens (Stein et al. 2023).

Inception was trained on photographs; DINOv2's features order generators more as people do. The same distance as FID
(`fid`), another network; the authors use ViT-L/14, the figure belongs to whichever DINO is configured.
"""

from diffsensei.evaluation.results import MetricDefinition

FD_DINO = MetricDefinition(
    name="fd_dino",
    label="FD-DINOv2",
    definition="Frechet distance between Gaussians fitted to the DINO class tokens of generated and true panels",
    unit="squared feature distance",
    higher_is_better=False,
    source="Stein et al. 2023",
    group="distribution",
)
