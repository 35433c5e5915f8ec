"""The data checks from the command line: on an annotation file, and on what a run has set aside."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from diffsensei.config import ExperimentConfig
from diffsensei.data.validation.annotation_check import AnnotationCheck, check_annotations
from tasks.planning import plan_targets
from tasks.publication import open_store

EXAMPLES = 1


def check_file(
    path: Path, config: ExperimentConfig, text_encoder: str, output: Path | None
) -> tuple[list[Table], bool]:
    """What the checks say of an annotation file, as tables, and whether a run would go on with so many faults.

    With ``output``, a new or empty folder, the whole result goes there. Raises ValueError as `check_annotations`.
    """
    if output and output.is_dir() and any(output.iterdir()):
        raise ValueError(f"--output: expected a new or empty folder, {output} holds files")
    validation = config.data.validation
    check = check_annotations(path, validation, config.data.buckets, text_encoder)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        check.quarantine.to_parquet(output / "quarantine.parquet", index=False)
        for name, document in (
            ("validation", check.report),
            ("statistics", check.statistics),
            ("counts", check.counts),
        ):
            (output / f"{name}.json").write_text(json.dumps(document, indent=1))
    return [_counts(check), _checks(check)], check.quarantined_pages <= validation.max_quarantine_rate


def _counts(check: AnnotationCheck) -> Table:
    table = Table(title="Counts")
    columns = ("input", "ok", "quarantined")
    for heading in ("level", *columns):
        table.add_column(heading, justify="left" if heading == "level" else "right")
    for level, count in check.counts.items():
        table.add_row(level, *(f"{count[name]:,}" for name in columns))
    return table


def _checks(check: AnnotationCheck) -> Table:
    table = Table(title="Checks that found something")
    for heading in ("check", "reason", "severity", "of", "failed", "examples"):
        table.add_column(heading, justify="right" if heading in ("of", "failed") else "left", overflow="fold")
    for line in check.report["checks"]:
        if line["unexpected"]:
            examples = " ".join(line["examples"][:EXAMPLES])
            figures = (f"{line['evaluated']:,}", f"{line['unexpected']:,}")
            table.add_row(line["id"], line["reason"], line["severity"], *figures, examples)
    for key, count in check.report["unknown_keys"].items():
        table.add_row("D1", "unknown key", "warning", "", f"{count:,}", ascii(key)[1:-1])
    return table


def validated_folder(config: ExperimentConfig) -> Path:
    """The result of the validate stage under ``config``. Raises ValueError where there is none yet."""
    rows = {row.stage: row for row in plan_targets(config, ["validate"], open_store()).rows}
    result = rows["validate"].result
    if result is None:
        raise ValueError("nothing is validated under this configuration yet; run `diffsensei run ingest`")
    return result.path


def set_aside_rows(
    config: ExperimentConfig, reason: str | None, level: str | None, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Quarantine rows of the configuration's data, at most ``limit``, and how many there are.

    Raises ValueError where nothing was validated, or no row has such a reason or level.
    """
    table = pd.read_parquet(validated_folder(config) / "quarantine.parquet")
    for column, wanted in (("reason", reason), ("level", level)):
        if wanted is None:
            continue
        known = sorted(table[column].unique())
        if wanted not in known:
            raise ValueError(
                f"--{column}: nothing was set aside as {wanted!r}; there is {', '.join(known) or 'nothing'}"
            )
        table = table[table[column] == wanted]
    columns = ["state", "level", "id", "page_id", "check", "reason", "evidence"]
    return table[columns].head(limit).to_dict("records"), len(table)
