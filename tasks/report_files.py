"""What `diffsensei report` does with the site: serve it here, say how two versions differ, export tables."""

import functools
import http.server
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.files import write_text
from reports.exports import TABLE_FORMATS
from reports.results_table import interval_text, signed_text
from reports.version_diff import VersionDiff
from reports.versions import read_version
from tasks.report_site import built_site, compare, find_version

LOOPBACK = "127.0.0.1"


def report_page(version: str) -> Path:
    """The first page of a version, or of the site for an empty name. Raises ValueError where there is none."""
    site = built_site()
    return site.version_folder(find_version(site, version)) / "index.html" if version else site.index


def serve_site(port: int, say: Callable[[str], None]) -> None:
    """Serve the site to this machine only until Ctrl-C; ``port`` 0 takes a free one."""
    with open_server(port) as server:
        say(f"http://{LOOPBACK}:{server.server_address[1]}/ (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")


def open_server(port: int) -> http.server.ThreadingHTTPServer:
    """The site's server, listening on loopback. Raises ValueError where the port is taken or there is no site."""
    handler = functools.partial(_Quiet, directory=str(built_site().folder))
    try:
        return http.server.ThreadingHTTPServer((LOOPBACK, port), handler)
    except OSError as error:
        raise ValueError(f"port {port} cannot be used ({error.strerror}); name another with --port") from None


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the browser shows what fails."""

    def end_headers(self) -> None:
        # The status of versions changes under the same address.
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def diff_lines(first: str, second: str) -> tuple[Path, list[str]]:
    """Compare two versions: the page, and its differences as lines for a terminal."""
    page, diff = compare(built_site(), first, second)
    return page, list(_lines(diff))


def _lines(diff: VersionDiff) -> Iterator[str]:
    for reason in diff.not_comparable:
        yield f"not comparable: {reason}"
    refused = {(row.metric_label, row.reason): None for row in diff.figures if row.verdict == "not comparable"}
    for metric, reason in refused:
        yield f"{metric:<16} not comparable: {reason}"
    for row in diff.figures:
        if row.verdict not in ("same", "not comparable"):
            figure = "" if row.difference is None else signed_text(row.difference)
            interval = interval_text(row.low, row.high, signed=True)
            told = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
            yield f"{row.metric_label:<16} {row.label:<28} {figure:>8}  {interval:<20}  {told}".rstrip()
    moved = {(row.set_name, row.method) for row in diff.figures if row.verdict not in ("same", "not comparable")}
    same = len({(row.set_name, row.method) for row in diff.figures if row.verdict == "same"} - moved)
    if same:
        yield f"{same} {'method' if same == 1 else 'methods'} measured the very same"
    yield f"{len(diff.settings)} fields of the configuration and {len(diff.stages)} results of stages differ"


def export_text(format: str, version: str, set_name: str) -> str:
    """A version's table in one of `TABLE_FORMATS`. Raises ValueError for an unknown format, version or set."""
    if format not in TABLE_FORMATS:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(TABLE_FORMATS)}")
    site = built_site()
    found = read_version(site.version_folder(find_version(site, version)))
    chosen = found.set(set_name)
    if chosen is None:
        raise ValueError(f"no evaluation set {set_name!r} in it; known: {', '.join(each.name for each in found.sets)}")
    _, write = TABLE_FORMATS[format]
    return write(chosen.summary)


def write_export(path: Path, text: str) -> Path:
    """Write an export whole. Raises ValueError where the folder does not exist."""
    if not path.parent.is_dir():
        raise ValueError(f"no folder {path.parent}; make it first")
    write_text(path, text)
    return path
