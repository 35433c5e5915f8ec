"""The GPU's measurements run from end to end at tiny size; their figures mean nothing there."""

import re

import pytest

from tests.benchmarks.gpu.__main__ import main
from tests.benchmarks.gpu.measurements import ceiling, drawing, stage2, training
from tests.benchmarks.gpu.setting import cpu_setting

LINES = {
    "training": r"stage 1, 64 px, 2 panels, eager: \d+ ms, [\d.]+ panels/s, .* of the ceiling",
    "drawing": r"drawing, 64 px, [12] together, \d+ steps, eager: [\d.]+ panels/s",
    "stage2": r"stage 2, 64 px, 2 panels, prompts (padded|in rows of 1024 tokens): \d+ ms",
}


@pytest.mark.slow
def test_every_measurement_gives_its_lines() -> None:
    setting = cpu_setting()
    limit, line = ceiling(setting)
    assert limit > 0
    assert "TFLOP/s" in line
    found = {
        "training": list(training(setting, limit, compiled=False)),
        "drawing": list(drawing(setting, limit)),
        "stage2": list(stage2(setting, limit)),
    }
    for name, lines in found.items():
        assert len(lines) == (1 if name == "training" else 2)
        assert all(re.match(LINES[name], line) for line in lines), lines


def test_without_a_gpu_it_says_what_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([]) == 2
    assert "expected a CUDA GPU, found none" in capsys.readouterr().out
