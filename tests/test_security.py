"""Rules about the whole source and its packages that no reviewer should have to remember."""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from flows.catalog import FLOWS

ROOT = Path(__file__).parents[1]
PACKAGES = ("diffsensei", "infra", "tasks", "reports", "flows")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
RUNS_CODE = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "joblib.load", "cloudpickle.loads"),
    *("shelve.open", "marshal.loads", "yaml.load", "yaml.unsafe_load", "pandas.read_pickle", "pd.read_pickle"),
    *("os.system", "os.popen", "eval", "exec"),
}


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Dotted name and node of every call that has a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _keywords(call: ast.Call) -> dict[str | None, Any]:
    return {keyword.arg: keyword.value.value for keyword in call.keywords if isinstance(keyword.value, ast.Constant)}


def faults_of(source: str) -> list[str]:
    """What in ``source`` would run code that came in a file, or pass text to a shell."""
    found = []
    for name, call in _calls(ast.parse(source)):
        keywords = _keywords(call)
        if name in RUNS_CODE:
            found.append(name)
        if name == "torch.load" and keywords.get("weights_only") is not True:
            found.append("torch.load without weights_only=True")
        if name.endswith(("np.load", "numpy.load")) and keywords.get("allow_pickle"):
            found.append("numpy.load with allow_pickle")
        if keywords.get("trust_remote_code"):
            found.append("trust_remote_code")
        if keywords.get("shell"):
            found.append(f"{name} through a shell")
        if name.endswith(("extractall", "extract")) and "zip" in source:
            found.append(name)
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("torch.load(path)", "torch.load without weights_only=True"),
        ("torch.load(path, weights_only=False)", "torch.load without weights_only=True"),
        ("pickle.loads(data)", "pickle.loads"),
        ("AutoModel.from_pretrained(name, trust_remote_code=True)", "trust_remote_code"),
        ("subprocess.run(text, shell=True)", "subprocess.run through a shell"),
        ("np.load(path, allow_pickle=True)", "numpy.load with allow_pickle"),
        ("import zipfile\narchive.extractall(folder)", "archive.extractall"),
    ],
)
def test_what_would_run_code_from_files_is_seen(source: str, found: str) -> None:
    assert faults_of(source) == [found]


def test_no_source_runs_code_that_comes_in_files() -> None:
    assert len(SOURCES) > 300
    faults = {str(path.relative_to(ROOT)): faults_of(path.read_text()) for path in SOURCES}
    assert {path: found for path, found in faults.items() if found} == {}


def test_prefect_keeps_no_results_and_reads_none_but_json() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["prefect"]
    assert settings["results.default_serializer" if "results.default_serializer" in settings else "results"] in (
        "json",
        {"default_serializer": "json"},
    )
    for entry in FLOWS.values():
        module, _, name = entry.function.partition(":")
        assert getattr(importlib.import_module(module), name).persist_result is False, entry.name


def test_every_package_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = {_normal(line.partition("==")[0]): line for line in lines}
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", line)] == []
    assert (
        sorted(_normal(Requirement(each).name) for each in asked if _normal(Requirement(each).name) not in pins) == []
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
