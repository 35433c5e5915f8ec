"""The checkpoints that a store knows by reference."""

from dataclasses import dataclass

from infra.store import ObjectMissing, ObjectRef, Store
from tasks.releases import CHANNELS, RELEASED

BUNDLE = "bundle"
TRUST = tuple(reversed(CHANNELS))
"""The channels, from what people use to what was only built."""


@dataclass(frozen=True)
class Checkpoint:
    """A bundle, and what it is known by."""

    name: str
    version: str
    bundle: ObjectRef
    channels: tuple[str, ...]
    """References that name it now; none for one that was released and is no longer."""

    @property
    def key(self) -> str:
        """The same for ever, whatever references do."""
        return f"checkpoint-{self.bundle.digest}"

    @property
    def label(self) -> str:
        """For people; two builds of one version differ by the digits."""
        return f"{self.name} {self.version} ({self.bundle.digest[:8]})"


def known_checkpoints(store: Store) -> list[Checkpoint]:
    """What the channels name now and what was ever released, newest move last, as far as it is still stored."""
    from diffsensei.release.manifest import read_manifest

    channels: dict[str, list[str]] = {}
    for move in store.refs.log():
        if move.channel == RELEASED and move.kind == BUNDLE:
            channels.setdefault(move.digest, [])
    for channel in TRUST:
        for name in store.refs.names(channel):
            ref = store.refs.read(channel, name)
            if ref is not None and ref.kind == BUNDLE:
                named = channels.setdefault(ref.digest, [])
                named += [channel] if channel not in named else []
    found = []
    for digest, named in channels.items():
        bundle = store.object(BUNDLE, digest)
        try:
            store.manifest(bundle)
        except ObjectMissing:
            continue  # its files were removed from the store
        manifest = read_manifest(bundle.path)
        found.append(Checkpoint(manifest.name, manifest.version, bundle, tuple(named)))
    return found
