"""The README stays true: links lead somewhere, the tree is the tree, commands exist and the light ones run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]
LIGHT = [command for command in COMMANDS if command.startswith(("diffsensei show", "diffsensei plan"))]


@pytest.mark.parametrize("document", ["README.md", "AGENTS.md", "CHANGELOG.md", "EXPERIMENTS.md"])
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text()
    local = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_the_tree_names_every_folder_and_no_other():
    tree = next(block for _, block in BLOCKS if block.startswith("flows/"))
    folders, parent = set(), ""
    for line in tree.splitlines():
        name = re.match(r"(\s*)(\w+)/", line)
        parent = name[2] if not name[1] else parent
        folders.add(name[2] if not name[1] else f"{parent}/{name[2]}")
    tops = {"flows", "tasks", "reports", "infra", "diffsensei", "tests"}
    parts = {f"diffsensei/{path.parent.name}" for path in (ROOT / "diffsensei").glob("*/__init__.py")}
    assert folders == tops | parts


def test_make_targets_and_deployments_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    deployments = {item["name"] for item in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] == "make":
            assert words[1] in targets
        if words[:3] == ["prefect", "deployment", "run"]:
            assert words[3] in deployments


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("diffsensei")])
def test_commands_and_options_exist(command):
    words = shlex.split(command)
    options = [word for word in words if word.startswith("--")]
    path = [
        word
        for word in words[1:3]
        if word in {"show", "plan", "run", "data", "preview", "report", "generate", "import", "released"}
        or word in {"coverage", "check", "edit-sheet"}
    ]
    help_text = _diffsensei(*path, "--help").stdout
    assert [option for option in options if option not in help_text] == []


@pytest.mark.parametrize("command", LIGHT)
def test_light_commands_run(command, tmp_path):
    done = _diffsensei(*shlex.split(command)[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def _diffsensei(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("diffsensei")
    return subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120)
