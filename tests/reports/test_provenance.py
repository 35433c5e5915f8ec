import pytest

from diffsensei.config import load_preset
from reports.provenance import duration_text, preset_overrides, read_provenance, repeat_command, size_text


def test_overrides_are_found_and_repeated():
    config = load_preset("tiny", ["training.stage1.steps=5", "sampling.negative_prompt=two words"])
    overrides = preset_overrides(config)
    assert overrides == {
        "training.stage1.steps": (5, load_preset("tiny").training.stage1.steps),
        "sampling.negative_prompt": ("two words", ""),
    }
    assert repeat_command(config, "full-pipeline") == (
        "diffsensei run full-pipeline --preset tiny --set training.stage1.steps=5 "
        "--set 'sampling.negative_prompt=two words'"
    )


def test_the_command_gives_the_same_experiment():
    config = load_preset("tiny", ["data.buckets.tiers=[64]", "evaluation.seeds=[0, 1]", "seed=3"])
    settings = [f"{path}={value}" for path, (value, _) in preset_overrides(config).items()]
    assert load_preset("tiny", settings) == config


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (42, "42 s"), (185, "3 min 05 s"), (7620, "2 h 07 min"), (59.9, "1 min 00 s")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(12, "12 B"), (3_141_592, "3.1 MB"), (240_000, "240 KB")])
def test_sizes(size, text):
    assert size_text(size) == text


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"no provenance\.json"):
        read_provenance(load_preset("tiny"), tmp_path)
