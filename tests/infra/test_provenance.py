import subprocess
from importlib.metadata import version
from pathlib import Path

from infra.provenance import environment, git_state


def test_the_environment_is_that_of_this_process() -> None:
    seen = environment()
    assert seen.packages["pydantic"] == version("pydantic")
    assert seen.python.startswith("3.")
    assert seen.num_cores >= 1
    assert seen.memory_bytes > 2**28
    assert seen.cpu


def test_git_state(tmp_path: Path) -> None:
    assert git_state(tmp_path).commit is None

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        command = ["git", *who, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "first")
    clean = git_state(tmp_path)
    assert clean.commit == git("rev-parse", "HEAD").strip()
    assert not clean.dirty
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path).dirty
