"""The store's own upkeep: every byte hashed again, and room made."""

from collections.abc import Iterator

from infra.collection import find_garbage, remove_garbage
from infra.store import ObjectDamaged, ObjectRef, Store
from tasks.releases import RELEASED


def check_store(store: Store) -> Iterator[tuple[bool, str]]:
    """Hash every file of every object: for each damaged one False and a line, last a line with what was checked.

    Runs trust a file whose size and time are as last hashed; this finds what such trust overlooks.
    """
    whole = damaged = num_bytes = 0
    for ref, manifest in store.objects():
        try:
            store.verify(ref)
            whole += 1
            num_bytes += sum(entry.size for entry in manifest.files)
        except ObjectDamaged as error:
            damaged += 1
            yield False, f"damaged: {error}"
    yield not damaged, f"{whole} objects whole ({num_bytes / 2**20:.0f} MiB), {damaged} damaged"


def collect_garbage(store: Store, keep_days: float, delete: bool) -> Iterator[str]:
    """What may go, a line each, and whether it went. Kept is what anything named was made from (references of every
    channel, and every release there was), and what is younger than ``keep_days``.

    Raises ValueError while a job runs.
    """
    if keep_days < 0:
        raise ValueError(f"--keep-days: expected at least 0, got {keep_days:g}")
    garbage = find_garbage(store, _roots(store), keep_days)
    for ref in garbage.objects:
        yield f"object {ref.kind} {ref.digest[:12]}"
    for stage in garbage.stages:
        yield f"stage {stage.name} {stage.key[:12]}"
    for path in garbage.left_behind:
        yield f"left behind {path.relative_to(store.base)}"
    size = f"{garbage.num_bytes() / 2**20:.0f} MiB"
    if delete:
        remove_garbage(store, garbage)
    yield f"removed {size}" if delete else f"{size} may go; `--delete` removes them"


def _roots(store: Store) -> list[ObjectRef]:
    channels = {move.channel for move in store.refs.log()}
    named = [store.refs.read(channel, name) for channel in channels for name in store.refs.names(channel)]
    return [store.object(ref.kind, ref.digest) for ref in (*named, *store.refs.log(RELEASED)) if ref is not None]
