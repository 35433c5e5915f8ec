"""From candidate to release: which bundle a name stands for, what must hold before it moves, and the way back.

``candidate`` was built, ``approved`` passed its gate, ``released`` is what people use; each moves by a logged reference
(`infra.refs`). ``versions/<name>-<version>`` is set once: a version's bundle never changes. ``certified`` names the
newest certificate of each bundle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import ReleaseConfig
from infra.lineage import Lineage
from infra.refs import Ref
from infra.store import ObjectDamaged, ObjectMissing, ObjectRef, Store
from tasks.events import announce_checkpoint
from tasks.licences import unlicensed_pages
from tasks.tombstones import buried_under

CANDIDATE = "candidate"
APPROVED = "approved"
RELEASED = "released"
CHANNELS = (CANDIDATE, APPROVED, RELEASED)
PUBLISHED = (APPROVED, RELEASED)
"""The channels that others draw with: what enters one is announced."""
VERSIONS = "versions"
CERTIFIED = "certified"


class NotReleasable(ValueError):
    """A bundle must not move on; the message is the reason, in one line."""


@dataclass(frozen=True)
class Settled:
    """What became of a run's bundle: a line for each thing that a person should know."""

    channel: str
    """The furthest it came."""
    lines: tuple[str, ...]


def settle(store: Store, config: ExperimentConfig, bundle: ObjectRef, gate: ObjectRef) -> Settled:
    """Move a run's bundle as far as its certificate and the configuration allow. What stops it raises nothing."""
    release = config.release
    named = f"{release.name} {release.version}"
    move_reference(store, CANDIDATE, release.name, bundle, "built")
    if _is_settled(store, release.name, bundle, gate):
        return Settled(RELEASED, (f"{named} is released",))
    move_reference(store, CERTIFIED, _certified(release.name, bundle), gate, f"gate of {bundle.digest[:12]}")
    try:
        verdict = require_certified(store, release.name, bundle)
        require_unburied(store, bundle)
        require_licensed(store, bundle)
        if config.gate.require_clean_code:
            require_clean_code(store, bundle)
        move_reference(store, APPROVED, release.name, bundle, f"gate {verdict}")
        if config.gate.release == "by_hand":
            line = f"{named} is approved; `diffsensei release publish --name {release.name}` releases it"
            return Settled(APPROVED, (f"gate {verdict}", line))
        _require_never_withdrawn(store, release.name, bundle)
        publish(store, release.name)
    except NotReleasable as refusal:
        channel = APPROVED if _points_at(store, APPROVED, release.name, bundle) else CANDIDATE
        return Settled(channel, (f"{named} stays {channel}: {refusal}",))
    return Settled(RELEASED, (f"gate {verdict}", f"{named} is released"))


def publish(store: Store, name: str) -> Ref:
    """Release what is approved under ``name``, under its version, for good. Doing it again changes nothing.

    Raises NotReleasable where nothing is approved, where the certificate is missing, failed or does not fit, where the
    version is taken by another bundle, or where a page it rests on was taken down or is of unknown licence.
    """
    approved = store.refs.read(APPROVED, name)
    if approved is None:
        raise NotReleasable(f"no {name} is approved; `diffsensei run release` builds a candidate and tests it")
    bundle = store.object(approved.kind, approved.digest)
    verdict = require_certified(store, name, bundle)
    require_unburied(store, bundle)
    require_licensed(store, bundle)
    version = f"{name}-{bundle_version(store, bundle)}"
    taken = store.refs.read(VERSIONS, version)
    if taken is not None and taken.digest != bundle.digest:
        raise NotReleasable(
            f"{version} is released already with other weights ({taken.digest[:12]}); raise release.version"
        )
    if taken is None:
        store.refs.move(VERSIONS, version, bundle.kind, bundle.digest, expected=None, reason=f"gate {verdict}")
    return move_reference(store, RELEASED, name, bundle, f"gate {verdict}")


def roll_back(store: Store, channel: str, name: str, generation: int, reason: str) -> Ref:
    """Let ``channel`` point at what it pointed at in ``generation``; the move is logged like any other.

    Raises ValueError for a channel or generation that is not there, and for a bundle whose pages were taken down.
    """
    if channel not in CHANNELS:
        raise ValueError(f"unknown channel {channel!r}; known: {', '.join(CHANNELS)}")
    moves = store.refs.log(channel, name)
    wanted = next((move for move in moves if move.generation == generation), None)
    if wanted is None:
        known = f"1 to {moves[-1].generation}" if moves else "none yet"
        raise ValueError(f"{channel} {name} has no generation {generation}; known: {known}")
    bundle = store.object(wanted.kind, wanted.digest)
    store.verify(bundle)
    require_unburied(store, bundle)
    return move_reference(store, channel, name, bundle, f"rolled back to generation {generation}: {reason}")


# ---------------------------------------------------------------- what must hold


def require_certified(store: Store, name: str, bundle: ObjectRef) -> str:
    """The verdict of the bundle's certificate, once checksums, digests and rules were checked again.

    Raises NotReleasable.
    """
    gate = certificate_of(store, name, bundle)
    if gate is None:
        raise NotReleasable("it has no certificate; `diffsensei run release` tests it")
    from diffsensei.gate.recheck import recheck

    try:
        store.verify(bundle)
        return recheck(bundle.path, gate.path).certificate.verdict()
    except (ValueError, RuntimeError, LookupError) as error:
        raise NotReleasable(" ".join(str(error).split())) from None


def require_unburied(store: Store, ref: ObjectRef) -> None:
    """Raises NotReleasable where anything that ``ref`` was made from holds a page that was taken down."""
    found = buried_under(store, ref)
    if found:
        because = f"{found[0].reason}{_and_more(found)}"
        raise NotReleasable(f"it rests on page {found[0].shown}, taken down because: {because}; run the pipeline again")


def require_licensed(store: Store, bundle: ObjectRef) -> None:
    """Raises NotReleasable where nobody has said by what right some of the pages behind the bundle were used."""
    unknown = unlicensed_pages(store, bundle)
    if unknown:
        pages = f"{unknown[0]}{_and_more(unknown)}"
        raise NotReleasable(f"the licence of its pages is not known ({pages}); name it in release.pages_licences")


def _and_more(found: Sequence[object]) -> str:
    """What follows the first of ``found``."""
    return f" and {len(found) - 1} more" if len(found) > 1 else ""


def _require_never_withdrawn(store: Store, name: str, bundle: ObjectRef) -> None:
    """Raises NotReleasable for a bundle that was released and is not any more: a run must not undo that by itself."""
    released = [move.digest for move in store.refs.log(RELEASED, name)]
    if bundle.digest in released and released[-1] != bundle.digest:  # the log: a crash may have left the pointer behind
        raise NotReleasable(
            f"it was released once and another one is now; `diffsensei release publish --name {name}` releases it again"
        )


def require_clean_code(store: Store, bundle: ObjectRef) -> None:
    """Raises NotReleasable where a stage behind the bundle ran from a source tree with changes, or from none."""
    lineage = Lineage(store)
    unclean = sorted(
        ref.kind
        for ref in lineage.upstream(bundle)
        if lineage.manifests[ref].git.dirty or lineage.manifests[ref].git.commit is None
    )
    if unclean:
        raise NotReleasable(
            f"{unclean[0]} and {len(unclean) - 1} more stages ran from uncommitted code (gate.require_clean_code); "
            "commit and run again"
        )


# ---------------------------------------------------------------- what is there


def certificate_of(store: Store, name: str, bundle: ObjectRef) -> ObjectRef | None:
    """The newest certificate of a bundle, as the result of a gate stage."""
    ref = store.refs.read(CERTIFIED, _certified(name, bundle))
    return None if ref is None else store.object(ref.kind, ref.digest)


def bundle_of(store: Store, channel: str, name: str) -> ObjectRef:
    """The bundle that ``channel`` names. Raises ValueError where there is none."""
    moved = store.refs.read(channel, name)
    if moved is None:
        known = ", ".join(store.refs.names(channel)) or "none"
        further = next((f"; there is a {other}" for other in CHANNELS if store.refs.read(other, name)), "")
        raise ValueError(f"no {name} is {channel} ({channel}: {known}{further}); run `diffsensei run release`")
    return store.object(moved.kind, moved.digest)


def bundle_version(store: Store, bundle: ObjectRef) -> str:
    """The version that a bundle was built as."""
    return str(store.manifest(bundle).config["release"]["version"])


def previous_scores(store: Store, release: ReleaseConfig) -> ObjectRef | None:
    """The scores behind the last release of another version under this name; None where there is none.

    Raises ValueError where that release is there and its scores are not.
    """
    for move in reversed(store.refs.log(RELEASED, release.name)):
        bundle = store.object(move.kind, move.digest)
        try:
            if bundle_version(store, bundle) == release.version:
                continue
            score = store.object("score", store.manifest(bundle).inputs["score"])
            store.manifest(score)
        except (ObjectMissing, ObjectDamaged) as error:
            raise ValueError(
                f"the previous release {move.digest[:12]} and its scores are needed to test this one: {error}; restore "
                "them, or choose another release.name to begin anew"
            ) from None
        return score
    return None


def only_name(store: Store, channel: str, name: str | None) -> str:
    """``name``, or the one name that ``channel`` has. Raises ValueError where it has none or several."""
    names = store.refs.names(channel)
    if name is not None:
        return name
    if len(names) != 1:
        raise ValueError(f"{channel} has {', '.join(names) or 'no names'}; say which with --name")
    return names[0]


def move_reference(store: Store, channel: str, name: str, bundle: ObjectRef, reason: str) -> Ref:
    """Let ``channel`` point at the bundle under ``name`` and announce it where that publishes it.

    A no-op where it does already.
    """
    current = store.refs.read(channel, name)
    expected = current.digest if current else None
    moved = store.refs.move(channel, name, bundle.kind, bundle.digest, expected=expected, reason=reason)
    if channel in PUBLISHED and moved != current:
        announce_checkpoint(moved)
    return moved


def version_folder(store: Store, version: str) -> tuple[Path, Path]:
    """Bundle and certificate of a released version such as ``diffsensei-tiny-0.1.0``. Raises ValueError."""
    ref = store.refs.read(VERSIONS, version)
    if ref is None:
        known = ", ".join(store.refs.names(VERSIONS)) or "none"
        raise ValueError(f"no version {version} was released here; released: {known}")
    bundle = store.object(ref.kind, ref.digest)
    gate = certificate_of(store, version.rpartition("-")[0], bundle)
    if gate is None:
        raise ValueError(f"version {version} has no certificate in {store.base}")
    return bundle.path, gate.path


def _is_settled(store: Store, name: str, bundle: ObjectRef, gate: ObjectRef) -> bool:
    """Whether the bundle is released on this very certificate: then all was checked, and nothing is left to do."""
    return (
        certificate_of(store, name, bundle) == gate
        and _points_at(store, APPROVED, name, bundle)
        and _points_at(store, RELEASED, name, bundle)
    )


def _certified(name: str, bundle: ObjectRef) -> str:
    return f"{name}-{bundle.digest[:16]}"


def _points_at(store: Store, channel: str, name: str, bundle: ObjectRef) -> bool:
    ref = store.refs.read(channel, name)
    return ref is not None and ref.digest == bundle.digest
