"""By what right the pages behind a bundle were used: which of them nobody has named a licence for."""

import fnmatch
import re
from collections.abc import Iterable

from diffsensei.config.schema import PagesLicence
from infra.lineage import Lineage
from infra.store import ObjectRef, Store
from tasks.tombstones import VALIDATED

SOURCES = ("data.source", "data.evaluation_source")
"""Fields of a configuration that say where pages come from."""
CLEARED = frozenset(("synthetic", "manga109"))
"""Kinds of sources whose right is settled: a drawn world is the project's own, and Manga109 is only read by who has
accepted its terms."""


def unlicensed_pages(store: Store, bundle: ObjectRef) -> list[str]:
    """Paths of the accepted pages behind ``bundle`` that come from outside and that ``release.pages_licences`` does not
    name, sorted. Where their table is gone from the store, ``all of <kind of source>`` instead."""
    release = store.manifest(bundle).config["release"]
    licences = [PagesLicence.model_validate(given) for given in release["pages_licences"]]
    lineage = Lineage(store)
    upstream = lineage.upstream(bundle)
    foreign = _foreign_kinds(lineage, upstream)
    if not foreign:
        return []
    tables = [
        ref for ref in upstream if ref.kind.endswith(VALIDATED) and _foreign_kinds(lineage, lineage.upstream(ref))
    ]
    if not tables:
        return [f"all of {kind}" for kind in sorted(foreign)]
    return sorted({path for table in tables for path in _unnamed(table, licences)})


def _foreign_kinds(lineage: Lineage, refs: Iterable[ObjectRef]) -> set[str]:
    configs = (lineage.manifests[ref].config for ref in refs)
    return {source["kind"] for config in configs for field in SOURCES if (source := config.get(field))} - CLEARED


def _unnamed(validated: ObjectRef, licences: list[PagesLicence]) -> list[str]:
    import pyarrow.parquet as pq  # every plan reads this module, few look into tables

    paths: list[str] = pq.read_table(validated.path / "pages.parquet", columns=["image_path"])["image_path"].to_pylist()
    named = re.compile("|".join(fnmatch.translate(given.pages) for given in licences) or r"(?!)")
    return [path for path in paths if not named.match(path)]
