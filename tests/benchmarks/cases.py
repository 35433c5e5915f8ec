"""The modules whose comparisons are ratios of two ways to compute the same."""

from types import ModuleType

from tests.benchmarks import (
    answers,
    cached_step,
    dialogs,
    drawing,
    judging,
    loading,
    look_alikes,
    loops,
    masks,
    packing,
    scoring,
)

MODULES: tuple[ModuleType, ...] = (
    masks,
    dialogs,
    answers,
    packing,
    loops,
    cached_step,
    drawing,
    look_alikes,
    loading,
    judging,
    scoring,
)
"""Each has ``cases()``."""
