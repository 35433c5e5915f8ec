import dataclasses

import pytest

from infra.stage import Stage, stage_key

CONFIG = {"training": {"stage2": {"steps": 150, "rate": 0.1}}, "seed": 0}
STAGE = Stage(
    name="stage2",
    version=1,
    entry="trainer:stage2",
    config={"stage": "training.stage2", "seed": "seed"},
    literals={"method": "full"},
    inputs={"initial": "stage1"},
    identity={"foundations": "aa"},
    packages=("pydantic",),
)
KEY = stage_key(STAGE, STAGE.values(CONFIG), {"initial": "d1"})


def test_the_key_is_a_function_of_what_may_change_the_result() -> None:
    assert len(KEY) == 64
    assert stage_key(STAGE, STAGE.values(dict(reversed(CONFIG.items()))), {"initial": "d1"}) == KEY
    assert stage_key(dataclasses.replace(STAGE, may_fail=True), STAGE.values(CONFIG), {"initial": "d1"}) == KEY
    assert stage_key(dataclasses.replace(STAGE, pace={"threads": 8}), STAGE.values(CONFIG), {"initial": "d1"}) == KEY
    assert stage_key(STAGE, STAGE.values(CONFIG), {"initial": "d2"}) != KEY


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"entry": "trainer:other"},
        {"literals": {"method": "none"}},
        {"identity": {"foundations": "bb"}},
        {"packages": ("pydantic", "no-such-distribution")},
        {"config": {"stage": "training.stage2"}},
    ],
)
def test_each_part_of_the_declaration_counts(change: dict) -> None:
    changed = dataclasses.replace(STAGE, **change)
    assert stage_key(changed, changed.values(CONFIG), {"initial": "d1"}) != KEY


def test_values_come_by_path_and_become_arguments() -> None:
    values = STAGE.values(CONFIG)
    assert values == {"training.stage2": {"steps": 150, "rate": 0.1}, "seed": 0}
    assert STAGE.arguments(values) == {"stage": {"steps": 150, "rate": 0.1}, "seed": 0, "method": "full"}
    paced = dataclasses.replace(STAGE, pace={"threads": 8})
    assert paced.arguments(values) == STAGE.arguments(values) | {"threads": 8}
    whole = Stage(name="report", version=1, entry="site:build", config={"config": ""})
    assert whole.arguments(whole.values(CONFIG)) == {"config": CONFIG}


def test_an_unknown_path_or_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"reads 'training\.stage3', which the configuration does not have"):
        Stage(name="s", version=1, entry="m:f", config={"a": "training.stage3"}).values(CONFIG)
    with pytest.raises(ValueError, match=r"takes inputs \['initial'\], got \['data'\]"):
        stage_key(STAGE, STAGE.values(CONFIG), {"data": "d1"})


def test_one_argument_has_one_source() -> None:
    with pytest.raises(AssertionError, match="given twice"):
        Stage(name="s", version=1, entry="m:f", config={"a": "seed"}, inputs={"a": "stage1"})
    with pytest.raises(AssertionError, match="reserved"):
        Stage(name="s", version=1, entry="m:f", literals={"output": "/tmp"})
