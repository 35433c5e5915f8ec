"""The download stage: verified bytes only, a state for every url, and no second request for what is known."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diffsensei.config.schema import DownloadConfig, MangaZeroSource, SyntheticSource
from diffsensei.data.download import fetching, pages
from diffsensei.data.download.journal import Journal
from diffsensei.data.download.pages import download_pages, fetch_all, page_urls
from diffsensei.data.images import encode_png
from diffsensei.data.sources.annotations import collect_annotations
from tests.data import poison

DOWNLOAD = DownloadConfig(
    requests_per_s=1000.0,
    max_connections=4,
    timeout_s=2.0,
    max_attempts=2,
    max_bytes=100_000,
    max_megapixels=1.0,
    allowed_hosts=("mangadex.org",),
)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BACKOFF_S", 0.01)


def picture(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (24, 16), dtype=np.uint8))


def named(data: bytes, number: int = 1) -> str:
    return f"/data/chapter/{number}-{hashlib.sha256(data).hexdigest()}.png"


def fates(server, workspace: Path, paths: list[str], download: DownloadConfig = DOWNLOAD) -> tuple[dict, int]:
    urls = [path if path.startswith("https:") else server.url(path) for path in paths]
    records, requests = fetch_all(
        urls,
        download=download,
        contact="x",
        library=workspace,
        limits=workspace / "limits",
        progress=workspace / "progress.json",
        routes=server.routes,
        chapters={},
    )
    assert [record.url for record in records] == urls
    return dict(zip(paths, records, strict=True)), requests


def test_a_file_that_kills_its_decoder_is_set_aside_and_tried_again_later(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ["/1.png", "/2.png", "/3.png"]
    for path, fate in zip(paths, (b"", b"segfault", b"eat"), strict=True):
        server.answers[path] = server.body(picture(1) + fate)
    with monkeypatch.context() as patched:
        patched.setattr(pages, "image_size", poison.size_or_die)
        found, _ = fates(server, tmp_path, paths)
    assert [found[path].reason for path in paths] == ["", "decoder_died", "decoder_out_of_memory"]
    assert [found[path].state for path in paths] == ["ok", "quarantined", "quarantined"]
    found, requests = fates(server, tmp_path, paths)
    assert [found[path].state for path in paths] == ["ok"] * 3
    assert requests == 2


def test_every_url_gets_a_state_and_a_reason(server, tmp_path: Path) -> None:
    good, cut, html = picture(1), picture(2)[:300], b"<html>gone</html>"
    paths = {
        named(good): (good, "ok", ""),
        "/old-style/x1.png": (picture(3), "ok", ""),  # early names carry no digest
        named(picture(2)): (cut, "quarantined", "truncated_image"),
        named(picture(4)): (picture(5), "quarantined", "sha256_mismatch"),
        named(picture(6)): (html, "quarantined", "not_an_image"),
        named(picture(7)): (b"x" * 200_000, "quarantined", "too_large"),
    }
    for path, (data, _, _) in paths.items():
        server.answers[path] = server.body(data)
    paths |= {
        "/dead.png": (b"", "removed", "dead_url_404"),
        "https://127.0.0.1/a.png": (b"", "quarantined", "forbidden_host"),
    }
    found, _ = fates(server, tmp_path, list(paths))
    assert {path: (found[path].state, found[path].reason) for path in paths} == {
        path: verdict for path, (_, *verdict_list) in paths.items() for verdict in [tuple(verdict_list)]
    }
    record = found[named(good)]
    assert (record.width, record.height) == (16, 24)
    for path, (data, state, _) in paths.items():
        stored = tmp_path / ("objects" if state == "ok" else "rejected") / found[path].sha256[:2] / found[path].sha256
        if found[path].sha256:
            assert stored.read_bytes() == data
        else:
            assert state != "ok"
    assert server.hits[named(picture(4))] == 2, "wrong bytes are asked for once more"
    assert server.hits[named(good)] == 1


def test_a_rerun_fetches_only_what_is_unknown_or_may_pass(server, tmp_path: Path) -> None:
    kept, lost = picture(1), picture(2)
    server.answers |= {
        named(kept): server.body(kept),
        named(lost): server.body(lost),
        "/busy": server.body(b"", status=503),
    }
    paths = [named(kept), named(lost), "/busy", "/dead"]
    first, _ = fates(server, tmp_path, paths)
    (tmp_path / "objects" / first[named(lost)].sha256[:2] / first[named(lost)].sha256).write_bytes(b"bit rot")
    server.answers["/busy"] = server.body(picture(3))
    server.hits.clear()
    again, requests = fates(server, tmp_path, paths)
    assert dict(server.hits) == {named(lost): 1, "/busy": 1}
    assert requests == 2
    assert again["/busy"].state == "ok"
    assert again[named(lost)] == first[named(lost)]
    assert again["/dead"].reason == "dead_url_404"


def test_same_url_is_fetched_once() -> None:
    page = {
        "image_path": "a/1.jpg",
        "frames": [],
        "meta": {"url1": "https://h/1", "url2": "https://h/1", "width1": 1, "width2": 1},
    }
    bad: list[Any] = [{}, {"meta": 3}, page | {"image_path": "../../etc/passwd"}, page | {"frames": "x"}]
    assert page_urls([*bad, page, page | {"image_path": "a/2.jpg"}]) == ["https://h/1"]


def test_consent_and_contact_come_first(tmp_path: Path) -> None:
    source = MangaZeroSource(annotations="annotations.json")
    for changes, expected in (
        ({}, "accept_download=true"),
        ({"accept_download": True}, "contact"),
        ({"accept_download": True, "contact": "a\nVia: b"}, "contact"),
    ):
        with pytest.raises(ValueError, match=expected) as caught:
            download_pages(
                source=source.replaced(**changes),
                download=DOWNLOAD,
                library=tmp_path,
                limits=tmp_path,
                annotations=tmp_path,
                workspace=tmp_path,
                output=tmp_path,
            )
        assert "\n" not in str(caught.value)


def test_the_stage_is_a_function_of_world_and_configuration(tmp_path: Path) -> None:
    """The synthetic world over its own loopback server: the same bytes whether or not anything was there before."""
    source = SyntheticSource(num_series=1, pages_per_series=6, page_height=96, seed=5, defect_rate=0.3)
    for name in ("annotations", "scratch", "first", "again"):
        (tmp_path / name).mkdir()
    collect_annotations(source=source, workspace=tmp_path / "scratch", output=tmp_path / "annotations")
    folders = []
    for workspace, output in (("first", "output-first"), ("first", "output-resumed"), ("again", "output-again")):
        (tmp_path / output).mkdir()
        download_pages(
            source=source,
            download=DOWNLOAD,
            library=tmp_path / "library",
            limits=tmp_path / "limits",
            annotations=tmp_path / "annotations",
            workspace=tmp_path / workspace,
            output=tmp_path / output,
        )
        folders.append(contents(tmp_path / output))
    assert folders[0] == folders[1] == folders[2]
    assert not (tmp_path / "library").exists(), "a world of one's own is kept apart from what was downloaded"
    assert not (tmp_path / "limits").exists()
    halves = pd.read_parquet(tmp_path / "output-first/halves.parquet")
    assert len(halves) >= 10
    for row in halves[halves["state"] == "ok"].itertuples():
        content = (tmp_path / "output-first/objects" / row.sha256[:2] / row.sha256).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.sha256
    figures = json.loads((tmp_path / "output-resumed/logs/throughput.json").read_text())
    assert figures["requests"] == 0


def test_pages_from_outside_come_from_the_library_when_they_are_there(tmp_path: Path) -> None:
    """A new run, its workspace empty: not one request, and the output is that of the run that fetched."""
    world = SyntheticSource(num_series=1, pages_per_series=6, page_height=96, seed=5, defect_rate=0.3)
    outside = MangaZeroSource(annotations="annotations.json", accept_download=True, contact="me@example.org")
    for name in ("annotations", "scratch", "library", "new", "output-fetched", "output-linked"):
        (tmp_path / name).mkdir()
    collect_annotations(source=world, workspace=tmp_path / "scratch", output=tmp_path / "annotations")
    for source, workspace, output in ((world, "library", "output-fetched"), (outside, "new", "output-linked")):
        download_pages(
            source=source,
            download=DOWNLOAD,
            library=tmp_path / "library",
            limits=tmp_path / "limits",
            annotations=tmp_path / "annotations",
            workspace=tmp_path / workspace,
            output=tmp_path / output,
        )
    assert contents(tmp_path / "output-linked") == contents(tmp_path / "output-fetched")
    assert json.loads((tmp_path / "output-linked/logs/throughput.json").read_text())["requests"] == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["progress.json"]


def test_a_library_serves_other_annotations(server, tmp_path: Path) -> None:
    """What one annotation file brought is there for another; only what is new is asked for."""
    data = [picture(number) for number in range(4)]
    server.answers |= {named(one): server.body(one) for one in data}
    fates(server, tmp_path, [named(one) for one in data[:3]])
    found, requests = fates(server, tmp_path, [named(one) for one in reversed(data)])
    assert requests == 1
    assert all(record.state == "ok" for record in found.values())


def test_damaged_objects_are_replaced_and_leftovers_removed(server, tmp_path: Path) -> None:
    data = picture(1)
    server.answers[named(data)] = server.body(data)
    found, _ = fates(server, tmp_path, [named(data)])
    sha256 = found[named(data)].sha256
    (tmp_path / "objects" / sha256[:2] / sha256).write_bytes(b"bit rot")
    (tmp_path / "objects" / sha256[:2] / "tmpkilled.part").write_bytes(b"half")
    fates(server, tmp_path, [named(data)])
    assert contents(tmp_path / "objects") == {f"{sha256[:2]}/{sha256}": data}


def test_two_downloaders_of_one_library(server, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl"), pytest.raises(ValueError, match="another download") as caught:
        fates(server, tmp_path, ["/a"])
    assert "\n" not in str(caught.value)
    assert not server.hits


def test_progress_shows_rate_and_time_left(server, tmp_path: Path) -> None:
    server.answers |= {f"/{number}": server.body(picture(number)) for number in range(3)}
    fates(server, tmp_path, [f"/{number}" for number in range(3)])
    shown = json.loads((tmp_path / "progress.json").read_text())
    assert (shown["done"], shown["total"], shown["eta_s"]) == (3, 3, 0.0)
    assert shown["figures"]["images_per_s"] > 0


@pytest.mark.parametrize("damage", ["torn", "flipped"])
def test_a_damaged_journal_costs_only_what_it_lost(server, tmp_path: Path, damage: str) -> None:
    data = [picture(number) for number in range(4)]
    paths = [named(one) for one in data]
    server.answers |= {named(one): server.body(one) for one in data}
    whole, _ = fates(server, tmp_path, paths)
    journal = tmp_path / "journal.jsonl"
    content = journal.read_bytes()
    journal.write_bytes(content[:-20] if damage == "torn" else content.replace(b'"ok"', b'"o\x6a"', 1))
    again, requests = fates(server, tmp_path, paths)
    assert (again, requests) == (whole, 1)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` but its logs."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "logs" not in path.relative_to(folder).parts
    }


def test_ones_own_files_come_first_and_nothing_is_fetched_without_consent(tmp_path: Path) -> None:
    own, absent = picture(1), picture(2)
    urls = [f"https://uploads.mangadex.org{named(data, number)}" for number, data in enumerate((own, absent), 1)]
    meta = {"url1": urls[0], "url2": urls[1], "width1": 16, "width2": 16}
    page = {"image_path": "a/1.png", "frames": [], "meta": meta}
    folders = {name: tmp_path / name for name in ("annotations", "mine", "workspace", "output")}
    for folder in folders.values():
        folder.mkdir()
    (folders["annotations"] / "annotations.json").write_text(json.dumps([page]))
    (folders["mine"] / "scan.png").write_bytes(own)
    download_pages(
        source=MangaZeroSource(annotations="a.json", images=(str(folders["mine"]),)),
        download=DOWNLOAD,
        library=tmp_path / "library",
        limits=tmp_path / "limits",
        annotations=folders["annotations"],
        workspace=folders["workspace"],
        output=folders["output"],
    )
    halves = pd.read_parquet(folders["output"] / "halves.parquet").set_index("url")
    assert halves["state"].to_dict() == {urls[0]: "ok", urls[1]: "missing"}
    assert halves.loc[urls[1], "reason"] == "not_matched"
    digest = hashlib.sha256(own).hexdigest()
    assert (folders["output"] / "objects" / digest[:2] / digest).read_bytes() == own
    assert (folders["output"] / "matching.parquet").is_file()
    assert not (tmp_path / "library").exists()
