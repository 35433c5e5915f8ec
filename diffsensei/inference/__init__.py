"""Drawing panels and pages with trained weights: requests, the diffusers pipeline, the generation stage, stories."""
