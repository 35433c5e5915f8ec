"""Typed configuration: the schema, the presets, and dotted overrides."""

from diffsensei.config.base import Config, canonical_json, config_digest
from diffsensei.config.experiment import ExperimentConfig
from diffsensei.config.overrides import ConfigError, flatten, load_preset, override, parse_value
from diffsensei.config.presets import PAPER_SOURCES, PRESETS

__all__ = [
    "PAPER_SOURCES",
    "PRESETS",
    "Config",
    "ConfigError",
    "ExperimentConfig",
    "canonical_json",
    "config_digest",
    "flatten",
    "load_preset",
    "override",
    "parse_value",
]
