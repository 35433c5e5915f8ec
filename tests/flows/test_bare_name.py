"""Bare deployment names: written out where Prefect would refuse them, nothing else touched."""

from pathlib import Path

import pytest
import yaml

from flows.bare_name import qualify
from flows.catalog import FLOWS


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("prefect deployment run full-pipeline", "prefect deployment run full-pipeline/full-pipeline"),
        ("prefect deployment run --watch train", "prefect deployment run --watch train/train"),
        ("prefect deployment run -p preset=tiny train", "prefect deployment run -p preset=tiny train/train"),
        ("prefect deployment inspect evaluate", "prefect deployment inspect evaluate/evaluate"),
        ("prefect deployment run train/train", "prefect deployment run train/train"),
        ("prefect deployment run other", "prefect deployment run other"),
        ("prefect deployment run other --tag train", "prefect deployment run other --tag train"),
        ("prefect work-pool create train", "prefect work-pool create train"),
        ("prefect", "prefect"),
    ],
)
def test_only_known_bare_names_are_written_out(typed: str, meant: str) -> None:
    assert qualify(typed.split()) == meant.split()


REPOSITORY = Path(__file__).parents[2]


def test_every_flow_but_the_foundations_is_deployed_under_its_own_name() -> None:
    deployments = {d["name"]: d for d in yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]}
    deployed = {name: entry for name, entry in FLOWS.items() if name != "foundations"}
    assert set(deployments) == set(deployed)
    for name, entry in deployed.items():
        module, _, function = entry.function.partition(":")
        assert deployments[name]["entrypoint"] == f"{module.replace('.', '/')}.py:{function}"
