"""The human study as four short flows; between them people vote, for days, and no flow waits for them.

``study-prepare`` makes the packets, ``study-import`` takes in offline votes, ``study-analyse`` gives the result, and
``study-simulate`` says beforehand what a budget can show.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import flow

from diffsensei.config import load_preset
from tasks.artifacts import show_lines
from tasks.studying import analyse, import_files, prepare, simulate


@flow(name="study-prepare", persist_result=False)
async def study_prepare(
    benchmark: Path,
    methods: Mapping[str, Path],
    output: Path,
    consent: Path | None = None,
    preset: str = "tiny",
    overrides: Sequence[str] = (),
) -> str:
    """Blinded packets of ``benchmark`` as ``methods`` (name to folder of panel images) drew it, and their key."""
    lines = list(prepare(load_preset(preset, overrides), benchmark, methods, output, consent))
    await show_lines(lines, "study-prepare", "Where the packets and their key are")
    return str(output)


@flow(name="study-import", persist_result=False)
async def study_import(study: Path, files: Sequence[Path]) -> int:
    """Take in ``files`` that raters sent back; returns how many were refused."""
    lines, refused = import_files(study, files)
    await show_lines(lines, "study-import", f"{len(files) - refused} of {len(files)} files taken")
    return refused


@flow(name="study-analyse", persist_result=False)
async def study_analyse(study: Path, output: Path) -> str:
    """``study.json`` and its tables in ``output``; the report shows them with ``report.study``."""
    lines = list(analyse(study, output))
    await show_lines(lines, "study-analyse", "The study's headline")
    return str(output)


@flow(name="study-simulate", persist_result=False)
async def study_simulate(
    output: Path,
    methods: int = 6,
    pages: int = 96,
    studies: int = 200,
    preset: str = "tiny",
    overrides: Sequence[str] = (),
) -> str:
    """How likely a study of this size tells two methods apart, as JSON in the file ``output``."""
    lines = list(simulate(load_preset(preset, overrides), methods, pages, studies, output))
    await show_lines(lines, "study-simulate", "What this budget can show")
    return str(output)
