"""The site over HTTP on this machine, its differences in a terminal, its tables in a file."""

import http.client
import threading
from pathlib import Path

import pytest

from infra.store import Store
from tasks.report_files import diff_lines, export_text, open_server, write_export
from tasks.report_site import publish_version
from tests.reports.small_versions import measurements, write_small_version
from tests.tasks.test_report_site import RELEASE


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Two versions without pages of their own but the first; DiffSensei's CLIP score is 0.1 higher in the second."""
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    store = Store(tmp_path / "store")
    for name, items in (("a", measurements()), ("b", measurements({("diffsensei", "clip"): 0.1}))):
        write_small_version(tmp_path / name, items=items)
        (tmp_path / name / "index.html").write_text(f"version {name}")
        publish_version(store, store.publish_object(tmp_path / name, "report"), RELEASE)
    return store


def test_the_site_is_served_on_loopback_only_and_fresh(store: Store) -> None:
    with open_server(0) as server:
        host, port = server.server_address[:2]
        assert host == "127.0.0.1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        asked.request("GET", "/index.html")
        answer = asked.getresponse()
        assert (answer.status, answer.getheader("Cache-Control")) == (200, "no-cache")
        assert "Benchmark reports" in answer.read().decode()
        asked.request("GET", "/../refs/log.jsonl")
        assert asked.getresponse().status == 404
        asked.close()
        with pytest.raises(ValueError, match=f"port {port} cannot be used"):
            open_server(port)
        server.shutdown()


def test_differences_are_lines_and_a_page(store: Store) -> None:
    names = store.refs.names("report")
    first, second = sorted(names, key=lambda name: store.refs.read("report", name).moved)
    page, lines = diff_lines(first, second)
    assert page.is_file()
    clip = next(line for line in lines if line.startswith("CLIP"))
    assert clip.split() == ["CLIP", "DIFFSENSEI", "+0.100", "+0.100", "to", "+0.100", "better"]
    assert "1 method measured the very same" in lines


def test_an_export_is_written_whole_or_says_what_is_missing(store: Store, tmp_path: Path) -> None:
    text = export_text("markdown", "latest", "main")
    assert write_export(tmp_path / "table.md", text).read_text() == text
    with pytest.raises(ValueError, match="make it first"):
        write_export(tmp_path / "nowhere" / "table.md", text)
