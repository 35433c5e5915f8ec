"""The checkpoints that a store knows by reference."""

from dataclasses import dataclass

from infra.store import ObjectRef, Store
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
    """What the channels name now and what was ever released, in the order of its first release or of `TRUST`.

    What the store no longer holds is left out; a bundle that cannot be read is none less: who draws it says why not.
    """
    named: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    current = [
        ref for channel in TRUST for name in store.refs.names(channel) if (ref := store.refs.read(channel, name))
    ]
    for ref in (*store.refs.log(RELEASED), *current):
        if ref.kind == BUNDLE:
            named.setdefault(ref.digest, [])
            names.setdefault(ref.digest, ref.name)
    for ref in current:
        if ref.kind == BUNDLE and ref.channel not in named[ref.digest]:
            named[ref.digest].append(ref.channel)
    stored = {digest: store.object(BUNDLE, digest) for digest in named}
    return [
        Checkpoint(*_identity(bundle, names[digest]), bundle, tuple(named[digest]))
        for digest, bundle in stored.items()
        if bundle.path.is_dir()
    ]


def _identity(bundle: ObjectRef, named: str) -> tuple[str, str]:
    """Name and version as the bundle itself has them."""
    from diffsensei.release.manifest import read_manifest

    try:
        manifest = read_manifest(bundle.path)
    except ValueError:
        return named, "unreadable"
    return manifest.name, manifest.version
