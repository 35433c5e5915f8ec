"""FID on Inception's first pooling layer, averaged over the picture: 64 features (pytorch-fid ``--dims 64``).

Texture more than content, and about a hundred times smaller than FID on 2048 features: at this scale the paper's 0.41
would be a usual number, which is why it is reported beside the headline; that the paper used it is not known.
"""

from diffsensei.evaluation.results import MetricDefinition

FID_FIRST_POOL = MetricDefinition(
    name="fid_64",
    label="FID (64)",
    definition="Frechet distance between Gaussians fitted to the means of Inception's first pooling layer",
    unit="squared feature distance",
    higher_is_better=False,
    source="pytorch-fid's and torchmetrics' 64-dimensional variant; a candidate for the paper's undefined FID",
    group="distribution",
)
