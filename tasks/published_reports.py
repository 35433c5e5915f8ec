"""Which reports the site shows: published, still stored, and resting on no page that was taken down."""

from dataclasses import dataclass

from infra.refs import Ref
from infra.store import ObjectRef, Store
from reports.version_index import Withdrawn
from reports.versions import FILE
from tasks.tombstones import buried_under

CHANNEL = "report"
"""Channel of the references to reports: one name a version, which never moves."""


@dataclass(frozen=True)
class PublishedReports:
    """What was published and is still stored."""

    shown: tuple[tuple[Ref, ObjectRef], ...]
    """Oldest first."""
    withdrawn: tuple[Withdrawn, ...]
    """Newest first."""

    def find(self, wanted: str) -> str:
        """The id of the version that ``wanted`` names: an id, the start of its digest, or ``latest``.

        Raises ValueError where none does, or several do, listing the known ones.
        """
        known = [ref.name for ref, _ in self.shown]
        if wanted == "latest" and known:
            return known[-1]
        found = [name for name in known if _names(wanted, name)]
        if len(found) == 1:
            return found[0]
        gone = next((entry for entry in self.withdrawn if _names(wanted, entry.id)), None)
        if not found and gone is not None:
            reasons = "; ".join(gone.reasons)
            raise ValueError(f"{gone.id} was withdrawn: it rests on a page that was taken down because: {reasons}")
        listing = ", ".join(reversed(known)) or "none"
        raise ValueError(f"{wanted!r} names {len(found) or 'no'} versions of the report; known: {listing}")


def read_published_reports(store: Store) -> PublishedReports:
    """Every reference to a report, told apart by the tombstones of today."""
    refs = [ref for name in store.refs.names(CHANNEL) if (ref := store.refs.read(CHANNEL, name)) is not None]
    shown: list[tuple[Ref, ObjectRef]] = []
    withdrawn: list[Withdrawn] = []
    for ref in sorted(refs, key=lambda ref: ref.moved):
        report = store.object(ref.kind, ref.digest)
        if not (report.path / FILE).is_file():
            continue
        if stones := buried_under(store, report):
            since = min(stone.recorded for stone in stones)
            reasons = tuple(dict.fromkeys(stone.reason for stone in stones))
            withdrawn.append(Withdrawn(ref.name, ref.moved, f"{since:%Y-%m-%d}", reasons))
        else:
            shown.append((ref, report))
    return PublishedReports(tuple(shown), tuple(reversed(withdrawn)))


def _names(wanted: str, name: str) -> bool:
    return bool(wanted) and (name == wanted or name.rpartition("-")[2].startswith(wanted))
