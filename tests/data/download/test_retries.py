"""Failed urls are tried again by reason, and only those."""

from pathlib import Path

import pytest

from diffsensei.data.download.journal import Journal, count_retries
from diffsensei.data.download.retries import retry_reasons
from diffsensei.data.halves import Half
from diffsensei.data.refusal import Refusal


def failed(url: str, reason: str) -> Half:
    return Half.refused(url, Refusal(reason, "", state="missing"))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    with Journal(tmp_path / "journal.jsonl") as journal:
        for record in (
            Half(url="https://h/ok", state="ok", sha256="0" * 64, width=1, height=1),
            failed("https://h/1", "dead_url_404"),
            failed("https://h/2", "dead_url_404"),
            failed("https://h/3", "sha256_mismatch"),
            failed("https://h/4", "timeout"),
        ):
            journal.append(record)
    return tmp_path


def urls(library: Path) -> set[str]:
    with Journal(library / "journal.jsonl") as journal:
        return {url.removeprefix("https://h/") for url in journal.read()}


def test_by_reason(library: Path) -> None:
    before = (library / "journal.jsonl").read_bytes()
    assert retry_reasons(library, ["dead_url_404", "timeout", "timeout"]) == {"dead_url_404": 2, "timeout": 1}
    assert urls(library) == {"ok", "3"}
    assert (library / "journal.jsonl").read_bytes().startswith(before), "only appended"


def test_what_is_known_since_counts(library: Path) -> None:
    retry_reasons(library, ["dead_url_404"])
    with Journal(library / "journal.jsonl") as journal:
        journal.append(failed("https://h/1", "dead_url_410"))
    assert urls(library) == {"ok", "1", "3", "4"}
    with pytest.raises(ValueError, match=r"dead_url_410 \(1\), sha256_mismatch \(1\), timeout \(1\)"):
        retry_reasons(library, [])


def test_every_request_counts_once(library: Path) -> None:
    path = library / "journal.jsonl"
    assert count_retries(path) == count_retries(library / "nothing") == 0
    for expected in (1, 2):
        retry_reasons(library, ["timeout" if expected == 1 else "dead_url_404"])
        assert count_retries(path) == expected
    path.write_bytes(path.read_bytes()[:-5])  # torn: neither counted nor obeyed
    assert count_retries(path) == 1
    assert urls(library) == {"ok", "1", "2", "3"}


@pytest.mark.parametrize("reasons", [[], ["dead"], ["timeout", "dead"]])
def test_errors_say_what_there_is(library: Path, reasons: list[str]) -> None:
    with pytest.raises(ValueError, match=r"dead_url_404 \(2\), sha256_mismatch \(1\), timeout \(1\)") as caught:
        retry_reasons(library, reasons)
    assert "\n" not in str(caught.value)
    assert count_retries(library / "journal.jsonl") == 0, "all or nothing"


def test_nothing_downloaded_yet(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing was downloaded"):
        retry_reasons(tmp_path / "library", ["timeout"])
    assert not (tmp_path / "library").exists()


def test_not_while_a_download_is_under_way(library: Path) -> None:
    with Journal(library / "journal.jsonl"), pytest.raises(ValueError, match="another download is writing"):
        retry_reasons(library, ["timeout"])
