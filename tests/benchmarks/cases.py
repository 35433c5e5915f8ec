"""The modules whose comparisons are ratios of two ways to compute the same."""

from types import ModuleType

from tests.benchmarks import answers, dialogs, drawing, loading, look_alikes, loops, masks, packing, scoring

MODULES: tuple[ModuleType, ...] = (masks, dialogs, answers, packing, loops, drawing, look_alikes, loading, scoring)
"""Each has ``cases()``."""
