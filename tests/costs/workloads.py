"""Workloads for tests of what is counted: a configuration on the paper's amount of data, or on a few pages."""

from diffsensei.config import ExperimentConfig
from diffsensei.costs.data_size import DataSize, Panels
from diffsensei.costs.passes import Passes
from diffsensei.costs.workload import Workload


def workload(config: ExperimentConfig, data: DataSize | None = None) -> Workload:
    return Workload(config, data or DataSize.of_mangazero(config.data.buckets), Passes(config))


def few(pages: dict[int, int], training: dict[int, int] | None = None) -> DataSize:
    """Of one size tier; ``pages`` are held out: panels on a page -> pages."""
    return DataSize(Panels(training or {10: 10}, (1.0,)), Panels(pages, (1.0,)), "a test")
