"""A small benchmark of drawn pages, three methods that drew it, and a prepared study of four raters."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffsensei.config import load_preset
from diffsensei.config.schema import StudyConfig
from diffsensei.evaluation.benchmark import BenchmarkCharacter, BenchmarkPanel
from diffsensei.study.prepare import prepare_study

METHODS = ("=ours", "base<b>line", "sketch")
SIZES = ((48, 64), (64, 48), (56, 56), (40, 120))
SECRET = b"s" * 32
XSS = "<img src=x onerror='window.pwned=1'></script><script>window.pwned=1</script>"


@pytest.fixture(scope="session")
def study_config() -> StudyConfig:
    return load_preset("tiny").study.replaced(num_raters=4, items_per_rater=3, page_width=240, bootstrap_resamples=200)


@pytest.fixture(scope="session")
def benchmark_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_benchmark(tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="session")
def drawings(benchmark_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return draw_methods(benchmark_folder, tmp_path_factory.mktemp("drawings"))


def draw_benchmark(folder: Path) -> Path:
    """A benchmark of five pages of four panels and one of one, in the empty ``folder``."""
    rng = np.random.default_rng(0)
    (folder / "truth").mkdir()
    (folder / "references").mkdir()
    lines = []
    for page in range(6):
        for index, (height, width) in enumerate(SIZES if page else SIZES[:1]):
            name = f"p{page}-{index}"
            _draw(folder / "truth" / f"{name}.png", height, width, rng)
            _draw(folder / "references" / f"{name}-0.png", 30, 20, rng)
            character = BenchmarkCharacter(
                id=f"c{index % 2}",
                box=(0.1, 0.1, 0.6, 0.9),
                reference=f"references/{name}-0.png",
                source=f"{name}:1",
                source_kind="other_panel",
                place=f"{name}:0",
                type=0,
            )
            panel = BenchmarkPanel(
                panel_id=name,
                page_id=f"page-{page}",
                series="series",
                panel_index=index,
                height=height,
                width=width,
                caption=f"{XSS} panel {index}",
                characters=(character,),
                unfed_dialogs=(),
                given=f"truth/{name}.png" if page and not index else "",
            )
            lines.append(panel.model_dump_json() + "\n")
    (folder / "panels.jsonl").write_text("".join(lines[::-1]))
    return folder


def draw_methods(benchmark_folder: Path, base: Path) -> dict[str, Path]:
    """The folder of each method's panel images, in ``base``."""
    folders = {}
    for number, method in enumerate(METHODS):
        folders[method] = base / str(number)
        folders[method].mkdir()
        for path in sorted((benchmark_folder / "truth").iterdir()):
            with Image.open(path) as truth:
                size = truth.size
            _draw(folders[method] / path.name, size[1], size[0], np.random.default_rng(number), method)
    return folders


def _draw(path: Path, height: int, width: int, rng: np.random.Generator, comment: str = "") -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("method", comment)
    Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)).save(path, pnginfo=info)


@pytest.fixture(scope="session")
def prepared(
    study_config: StudyConfig,
    benchmark_folder: Path,
    drawings: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A prepared study; tests that write copy it."""
    output = tmp_path_factory.mktemp("prepared") / "study"
    prepare_study(
        study=study_config, seed=0, benchmark=benchmark_folder, drawings=drawings, output=output, secret=SECRET
    )
    return output
