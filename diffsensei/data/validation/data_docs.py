"""great_expectations' own pages ("Data Docs") of a validation, for those who know their way around them.

They load their styles and scripts from public CDNs and show no values: its templates do not escape what they show, and
captions come from outside. The report's data page needs no network and has examples.
"""

import json
import os
from pathlib import Path


def write_data_docs(validated: Path, output: Path) -> list[Path]:
    """Write ``<table>.html`` for each suite of checks in the result ``validated`` of the validate stage.

    Raises ValueError (one line) where there is no such result or ``output`` holds files.
    """
    report = validated / "validation.json"
    if not report.is_file():
        raise ValueError(f"{validated} holds no validation.json; run the validate stage")
    if output.is_dir() and any(output.iterdir()):
        raise ValueError(f"expected a new or empty folder, {output} holds files")
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read once, at import; it would phone home
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    output.mkdir(parents=True, exist_ok=True)
    written = []
    for name, suite in json.loads(report.read_text())["suites"].items():
        results = [
            ExpectationValidationResult(
                success=line["success"],
                expectation_config=ExpectationConfiguration(**line["expectation_config"]),
                result=line["result"],
                exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
            )
            for line in suite["results"]
        ]
        page = ExpectationSuiteValidationResult(
            success=suite["success"], results=results, suite_name=name, statistics=suite["statistics"], meta={}
        )
        written.append(output / f"{name}.html")
        written[-1].write_text(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(page)))
    return written
