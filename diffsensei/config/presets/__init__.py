"""Presets: functions that return a complete `ExperimentConfig`. One schema, other numbers; none rests on another."""

from collections.abc import Callable

from diffsensei.config.experiment import ExperimentConfig
from diffsensei.config.presets.paper import PAPER_SOURCES, paper
from diffsensei.config.presets.small import small
from diffsensei.config.presets.tiny import tiny

PRESETS: dict[str, Callable[[], ExperimentConfig]] = {"tiny": tiny, "small": small, "paper": paper}

__all__ = ["PAPER_SOURCES", "PRESETS", "paper", "small", "tiny"]
