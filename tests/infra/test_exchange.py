"""Versions at a folder and at an S3 server of this machine: whole, once, and checked on the way back."""

import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.exchange import _create, _open, current, point, pull, push, versions

KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """moto's server, which speaks S3's protocol over HTTP and keeps all in memory."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed: S3 is not tested")
    pytest.importorskip("s3fs", reason="s3fs is not installed: S3 is not tested")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return str(tmp_path / "target")
    endpoint = request.getfixturevalue("s3_server")
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": endpoint}).items():
        monkeypatch.setenv(name, value)
    import s3fs

    bucket = f"releases-{os.urandom(6).hex()}"
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}/manga"


def _files(folder: Path, **content: str) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    for name, text in content.items():
        (folder / name).write_text(text)
    return {f"inner/{name}": folder / name for name in content}


def test_a_version_comes_back_as_it_went(target: str, tmp_path: Path) -> None:
    record = push(_files(tmp_path / "a", one="1", two="22"), target, "tiny", "0.1.0")
    assert push(_files(tmp_path / "a", one="1", two="22"), target, "tiny", "0.1.0") == record
    assert pull(target, "tiny", "0.1.0", tmp_path / "back") == record
    assert (tmp_path / "back" / "inner" / "two").read_text() == "22"
    assert versions(target, "tiny") == ["0.1.0"]
    with pytest.raises(ValueError, match=r"has no tiny 0\.2\.0; there: 0\.1\.0"):
        pull(target, "tiny", "0.2.0", tmp_path / "other")
    with pytest.raises(ValueError, match="back exists"):
        pull(target, "tiny", "0.1.0", tmp_path / "back")


def test_a_version_never_changes(target: str, tmp_path: Path) -> None:
    push(_files(tmp_path / "a", one="1"), target, "tiny", "0.1.0")
    with pytest.raises(ValueError, match="already with other content"):
        push(_files(tmp_path / "b", one="2"), target, "tiny", "0.1.0")
    pull(target, "tiny", "0.1.0", tmp_path / "back")
    assert (tmp_path / "back" / "inner" / "one").read_text() == "1"


def test_a_record_is_created_once_even_where_nobody_looked_before(target: str) -> None:
    """What decides a race: the second conditional write is refused by the other side."""
    filesystem, root = _open(target)
    filesystem.makedirs(root, exist_ok=True)
    assert _create(filesystem, f"{root}/record.json", b"first")
    assert not _create(filesystem, f"{root}/record.json", b"second")
    assert filesystem.cat_file(f"{root}/record.json") == b"first"


def test_a_file_damaged_there_is_refused_here(target: str, tmp_path: Path) -> None:
    record = push(_files(tmp_path / "a", one="1"), target, "tiny", "0.1.0")
    filesystem, root = _open(target)
    filesystem.pipe_file(f"{root}/tiny/{record.folder}/inner/one", b"!")
    with pytest.raises(ValueError, match=r"inner/one of tiny 0\.1\.0 came damaged"):
        pull(target, "tiny", "0.1.0", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_push_cut_off_before_its_record_is_no_version_and_goes_on(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = _files(tmp_path / "a", one="1", two="22")
    with monkeypatch.context() as patch:
        patch.setattr("infra.exchange._create", _die)
        with pytest.raises(KeyboardInterrupt):
            push(files, target, "tiny", "0.1.0")
    assert versions(target, "tiny") == []
    push(files, target, "tiny", "0.1.0")
    assert versions(target, "tiny") == ["0.1.0"]


def _die(*_: object) -> bool:
    raise KeyboardInterrupt


def test_a_record_that_leads_outside_is_refused(target: str, tmp_path: Path) -> None:
    record = push(_files(tmp_path / "a", one="1"), target, "tiny", "0.1.0")
    content = json.loads(record.model_dump_json())
    content["files"][0]["path"] = "../../outside"
    filesystem, root = _open(target)
    filesystem.pipe_file(f"{root}/tiny/0.1.0.json", json.dumps(content).encode())
    with pytest.raises(ValueError, match="may lie outside"):
        pull(target, "tiny", "0.1.0", tmp_path / "back")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("gs://bucket/x", "two writers could take one version"),
        ("s3://key:secret@bucket/x", "must not hold credentials"),
        ("http://host/x", "two writers could take one version"),
    ],
)
def test_addresses_that_cannot_serve_are_refused_without_naming_secrets(
    address: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        push({}, address, "tiny", "0.1.0")
    assert "secret" not in str(refused.value).replace("SECRET", "")
    with pytest.raises(ValueError, match="cannot name a version"):
        push({}, str(tmp_path), "tiny", "../x")


def _push_one(target: str, folder: Path, writer: int) -> str:
    try:
        return push(_files(folder / str(writer), one=str(writer)), target, "tiny", "0.1.0").digest
    except ValueError as error:
        return str(error)


def test_of_eight_writers_of_one_version_one_wins(tmp_path: Path) -> None:
    target = str(tmp_path / "target")
    with multiprocessing.get_context("fork").Pool(8) as pool:
        digests = pool.starmap(_push_one, [(target, tmp_path, writer) for writer in range(8)])
    (winner,) = (digest for digest in digests if len(digest) == 64)
    assert sum("already with other content" in said for said in digests) == 7
    assert pull(target, "tiny", "0.1.0", tmp_path / "back").digest == winner


def test_a_name_stands_for_the_version_that_was_said_last(target: str, tmp_path: Path) -> None:
    assert current(target, "tiny") is None
    with pytest.raises(ValueError, match=r"has no tiny 0\.1\.0; push it first"):
        point(target, "tiny", "0.1.0")
    for version in ("0.1.0", "0.2.0"):
        push(_files(tmp_path / version, one=version), target, "tiny", version)
        point(target, "tiny", version)
    assert point(target, "tiny", "0.2.0").number == 2
    assert point(target, "tiny", "0.1.0").number == 3
    found = current(target, "tiny")
    assert found is not None
    assert (found.version, found.number) == ("0.1.0", 3)
    assert versions(target, "tiny") == ["0.1.0", "0.2.0"]
    filesystem, root = _open(target)
    filesystem.pipe_file(f"{root}/tiny/current/00000004.json", b"{")
    with pytest.raises(ValueError, match=r"00000004\.json does not say which version is current"):
        current(target, "tiny")


def _push_and_point(target: str, folder: Path, writer: int, rounds: int) -> list[int]:
    """Versions of one's own, each made current: the numbers that this writer was given."""
    numbers = []
    for number in range(rounds):
        version = f"{writer}.{number}.0"
        push(_files(folder / version, one=version), target, "tiny", version)
        numbers.append(point(target, "tiny", version).number)
    return numbers


def test_two_pushers_at_once_lose_nothing(target: str, tmp_path: Path) -> None:
    writers, rounds = 2, 6
    with ThreadPoolExecutor(writers) as pool:
        given = list(pool.map(lambda writer: _push_and_point(target, tmp_path, writer, rounds), range(writers)))
    assert sorted(number for numbers in given for number in numbers) == list(range(1, writers * rounds + 1))
    assert all(numbers == sorted(numbers) for numbers in given)
    expected = sorted(f"{writer}.{number}.0" for writer in range(writers) for number in range(rounds))
    assert versions(target, "tiny") == expected
    for version in expected:
        pull(target, "tiny", version, tmp_path / f"back {version}")
        assert (tmp_path / f"back {version}" / "inner" / "one").read_text() == version
    last = current(target, "tiny")
    assert last is not None
    assert last.number == writers * rounds
    assert last.version.split(".")[1] == str(rounds - 1)
