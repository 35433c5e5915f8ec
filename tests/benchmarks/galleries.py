"""A whole report of 950 panels by seven methods: how long it takes, how large it is, and how soon it opens.

``python -m tests.benchmarks galleries``; some minutes, and 2 GB beside the temporary files.
"""

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from reports.site import build_report
from tests.conftest import ARGUMENTS, CHROMIUM
from tests.reports.conftest import build_run
from tests.reports.result_sets import write_result_set

PANELS, METHODS = 950, 7
MAX_BUILD_S, MAX_OPEN_S, MAX_DATA_BYTES = 180, 1.0, 2_000_000
OPENED = ("index.html", "panels.html", "panel.html", "pages.html", "extremes.html", "series.html")


def large_run(base: Path, *, pictures: bool = True, num_series: int = 0) -> dict[str, Any]:
    """Arguments of `build_report` for a made-up run of that size."""
    run = build_run(base / "rest").arguments
    kept = {name: value for name, value in run.items() if not name.startswith("generate_")}
    folders = write_result_set(base / "set", PANELS, METHODS, num_series=num_series, pictures=pictures)
    # The tables of pages lie beside the other results of the validate stage.
    folders["pages"] = folders.pop("validate")
    return kept | folders


def with_images(arguments: dict[str, Any], policy: str, output: Path) -> dict[str, Any]:
    """The same run with another picture policy, into another folder."""
    output.mkdir()
    config = arguments["config"]
    return arguments | {"config": config.replaced(report=config.report.replaced(images=policy)), "output": output}


def largest_data_file(output: Path) -> int:
    """Bytes, of the files of all evaluation sets."""
    return max(path.stat().st_size for path in output.rglob("data/**/*.js"))


def opening_seconds(output: Path, repeats: int = 5) -> dict[str, float]:
    """Median seconds from navigation to the load event of each page, in Chromium, from the folder."""
    found = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for name in OPENED:
            times = []
            for _ in range(repeats):
                tab = browser.new_page()
                tab.goto(f"{output.as_uri()}/{name}", wait_until="load")
                timing = "performance.getEntriesByType('navigation')[0].loadEventStart / 1000"
                times.append(tab.evaluate(timing))
                tab.close()
            found[name] = sorted(times)[repeats // 2]
        browser.close()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        began = time.perf_counter()
        arguments = large_run(base)
        print(f"{PANELS} panels by {METHODS} methods, made up in {time.perf_counter() - began:.0f} s")
        for policy in ("none", "thumb", "full"):
            output = base / f"report-{policy}"
            report(arguments, policy, output)


def report(arguments: dict[str, Any], policy: str, output: Path) -> None:
    """Build once and print what it took."""
    chosen = with_images(arguments, policy, output)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    build_report(**chosen)
    elapsed, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    pictures = sum(path.stat().st_size for path in output.rglob("*.webp"))
    opened = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in opening_seconds(output).items())
    print(
        f"{policy}: built in {elapsed:.0f} s ({processor:.0f} s of processor; goal {MAX_BUILD_S} s), "
        f"{size / 1e6:.0f} MB of which pictures {pictures / 1e6:.0f} MB, largest data file "
        f"{largest_data_file(output) / 1e6:.2f} MB (goal {MAX_DATA_BYTES / 1e6:.0f} MB); opens in {opened} "
        f"(goal {MAX_OPEN_S:.0f} s)"
    )
