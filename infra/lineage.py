"""What was made from what, over the whole store, in both directions.

An object's manifest names the inputs of whoever stored it first; another key may have given the same content later.
So the edges are those of all manifests and of all finished stages, read once. An input is known by its digest alone:
where two kinds have one content, both count.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from infra.manifest import Manifest
from infra.store import ObjectRef, Store


class Lineage:
    """The objects of ``store`` as they are now. Damaged and half-removed objects have no edges of their own."""

    def __init__(self, store: Store) -> None:
        self.manifests: dict[ObjectRef, Manifest] = {}
        self._named: dict[str, set[ObjectRef]] = defaultdict(set)
        self._inputs: dict[ObjectRef, set[str]] = defaultdict(set)
        self._users: dict[str, set[ObjectRef]] = defaultdict(set)
        for ref, manifest in store.objects():
            self.manifests[ref] = manifest
            self._named[ref.digest].add(ref)
            self._connect(ref, manifest.inputs.values())
        for folder in store.stage_folders():
            done = folder.done()
            if done is not None and (ref := store.object(done.kind, done.digest)) in self.manifests:
                self._connect(ref, done.ingredients.inputs.values())

    def _connect(self, ref: ObjectRef, inputs: Iterable[str]) -> None:
        for digest in inputs:
            self._inputs[ref].add(digest)
            self._users[digest].add(ref)

    def users(self, ref: ObjectRef) -> set[ObjectRef]:
        """What was made from ``ref`` directly."""
        return set(self._users.get(ref.digest, ()))

    def sources(self, ref: ObjectRef) -> set[ObjectRef]:
        """What ``ref`` was made from directly, as far as it is stored."""
        return {source for digest in self._inputs.get(ref, ()) for source in self._named.get(digest, ())}

    def upstream(self, ref: ObjectRef) -> set[ObjectRef]:
        """Everything that ``ref`` was made from, directly or not, and itself."""
        return _reached([ref], self.sources)

    def downstream(self, refs: Iterable[ObjectRef]) -> set[ObjectRef]:
        """Everything that was made from any of ``refs``, directly or not, and they themselves."""
        return _reached(refs, self.users)


def _reached(start: Iterable[ObjectRef], step: Callable[[ObjectRef], set[ObjectRef]]) -> set[ObjectRef]:
    seen: set[ObjectRef] = set()
    waiting = list(start)
    while waiting:
        ref = waiting.pop()
        if ref not in seen:
            seen.add(ref)
            waiting += step(ref)
    return seen
