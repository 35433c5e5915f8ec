"""Taking a page down: recorded for good, and gone at once with every version and page of results that rests on it."""

from collections.abc import Iterator
from dataclasses import replace

from infra.store import Store
from tasks.publication import withdraw_page
from tasks.report_site import Site, assemble_site
from tasks.tracing import bury_page, trace_page


def take_down(store: Store, asked: str, reason: str) -> Iterator[str]:
    """Record the request, bring the site up to date, and say, a line each, what used the page.

    Doing it again does no harm: a run that was killed half-way is made good. Raises ValueError without a reason.
    """
    stone = bury_page(store, asked, reason)
    yield f"taken down: {stone.shown}"
    site = Site(store)
    if site.index.is_file():
        before = site.versions()
        assemble_site(store)
        yield from (f"withdrawn from the site: {name}" for name in sorted(before - site.versions()))
    traced = trace_page(store, asked)
    for path in traced.published:
        withdraw_page(path)
        yield f"withdrawn: {path.name}"
    yield from replace(traced, published=()).lines()
