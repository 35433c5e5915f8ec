"""Pushing a version to a stand-in for the hub, with the hub's own client in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.hub_server import Hub, running_hub

TOKEN = "hf_canaryAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
PUSH = """
import sys
from pathlib import Path
from infra.hub import push_to_hub
files = {path.relative_to(sys.argv[1]).as_posix(): path for path in Path(sys.argv[1]).rglob("*") if path.is_file()}
try:
    print(push_to_hub(files, "someone/tiny-manga", sys.argv[2]))
except ValueError as error:
    print("refused:", error)
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    (folder / "pipeline").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# tiny\n")
    (folder / "pipeline" / "weights.safetensors").write_bytes(os.urandom(5000))
    return folder


def _push(hub: Hub, folder: Path, version: str, token: str | None = TOKEN) -> str:
    home = folder.parent / "home"
    environment = os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    environment.pop("HF_TOKEN", None)
    if token:
        environment["HF_TOKEN"] = token
    done = subprocess.run(
        [sys.executable, "-c", PUSH, str(folder), version],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout.strip()


def test_a_version_is_one_private_tagged_commit_and_comes_whole(hub: Hub, release: Path) -> None:
    assert _push(hub, release, "0.1.0") == f"{hub.address}/someone/tiny-manga/tree/v0.1.0"
    repository = hub.repositories["someone/tiny-manga"]
    assert repository.private
    assert repository.tags["v0.1.0"] == {
        path.relative_to(release).as_posix(): path.read_bytes() for path in release.rglob("*") if path.is_file()
    }
    assert f"Bearer {TOKEN}" in hub.tokens
    _push(hub, release, "0.1.0")
    assert repository.commits == 1


def test_a_version_never_changes_and_the_next_one_drops_what_it_lacks(hub: Hub, release: Path) -> None:
    _push(hub, release, "0.1.0")
    (release / "pipeline" / "weights.safetensors").write_bytes(os.urandom(6000))
    assert "v0.1.0 is there with other files; raise the version" in _push(hub, release, "0.1.0")
    (release / "pipeline" / "weights.safetensors").rename(release / "pipeline" / "other.safetensors")
    _push(hub, release, "0.2.0")
    repository = hub.repositories["someone/tiny-manga"]
    assert repository.tags["v0.2.0"].keys() == {"README.md", "pipeline/other.safetensors"}
    assert "pipeline/weights.safetensors" in repository.tags["v0.1.0"]


def test_without_a_licence_the_hub_refuses_in_one_line(hub: Hub, release: Path) -> None:
    (release / "README.md").write_text("---\nlibrary_name: diffusers\n---\n# tiny\n")
    said = _push(hub, release, "0.1.0")
    assert said.startswith("refused: hf:someone/tiny-manga")
    assert "license" in said
    assert "\n" not in said
    assert hub.repositories["someone/tiny-manga"].files == {}
