"""Which figures of two runs may be compared: those of one definition on one benchmark.

A metric's digest covers its name, version and parameters (with the digest of its judge: weights, processor, fit) and
the benchmark's panels and pictures. It covers no code: whoever changes what a metric computes raises its version.
"""

import hashlib
from pathlib import Path

from diffsensei.config.base import canonical_json
from diffsensei.evaluation.results import MetricDefinition, Summary
from diffsensei.foundations.locations import file_sha256


def benchmark_digest(folder: Path) -> str:
    """sha256 (64 hex digits) of the frozen panels, their true pictures and the references."""
    digest = hashlib.sha256(file_sha256(folder / "panels.jsonl").encode())
    for path in sorted([*folder.glob("truth/*.png"), *folder.glob("references/*.png")]):
        digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def with_digest(definition: MetricDefinition, parameters: dict[str, str | float], benchmark: str) -> MetricDefinition:
    """``definition`` with its parameters and the digest of it all."""
    parts = {
        "name": definition.name,
        "version": definition.version,
        "parameters": parameters,
        "benchmark": benchmark,
    }
    digest = hashlib.sha256(canonical_json(parts).encode()).hexdigest()
    return definition.replaced(parameters=parameters, digest=digest)


def comparable(a: Summary, b: Summary, metric: str) -> tuple[str, ...]:
    """Why the two runs' figures of ``metric`` may not be compared, one line a reason; empty where they may."""
    definitions = [next((m for m in run.metrics if m.name == metric), None) for run in (a, b)]
    first, second = definitions
    if first is None or second is None:
        lacking = " and ".join(name for name, found in zip(("first", "second"), definitions, strict=True) if not found)
        return (f"the {lacking} run lacks {metric}",)
    reasons = []
    if a.benchmark_digest != b.benchmark_digest:
        reasons.append(f"benchmarks differ: {a.benchmark_digest[:12]} and {b.benchmark_digest[:12]}")
    return (*reasons, *differences(first, second))


def differences(first: MetricDefinition, second: MetricDefinition) -> tuple[str, ...]:
    """What differs between two definitions of one metric, one line a difference, the benchmark apart."""
    found = []
    if first.version != second.version:
        found.append(f"versions of {first.name} differ: {first.version} and {second.version}")
    for name in sorted(first.parameters.keys() | second.parameters.keys()):
        mine, other = first.parameters.get(name, "absent"), second.parameters.get(name, "absent")
        if mine != other:
            found.append(f"{name} differs: {mine} and {other}")
    return tuple(found)
