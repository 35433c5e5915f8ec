"""Releases given to others, and taken from them: bundle and certificate as one folder, checked at both ends."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.exchange import current, point, pull, push
from infra.hub import push_to_hub
from infra.signing import sign
from infra.store import ObjectRef, Store
from tasks.releases import (
    RELEASED,
    VERSIONS,
    bundle_of,
    bundle_version,
    certificate_of,
    only_name,
    require_certified,
    require_unburied,
)
from tasks.releasing import SIGNATURE, verify_release

HUB = "hf:"
CERTIFICATION = "certification"
"""As `diffsensei.release.manifest.CERTIFICATION`, which leaves it out of the bundle's own checksums."""


def push_release(
    store: Store,
    target: str,
    name: str | None = None,
    version: str | None = None,
    *,
    public: bool = False,
    private_key: Path | None = None,
) -> Iterator[str]:
    """Push a released version to a folder, to ``s3://bucket/prefix``, or to ``hf:owner/name``, signed where there is a
    key; where it is, in one line. Without ``version`` that is the one released now, and the name stands for it there.

    Raises ValueError for what was never released, whose certificate does not hold, or that rests on a page taken down.
    """
    name = only_name(store, RELEASED, name)
    bundle = _released(store, name, version)
    number = bundle_version(store, bundle)
    verdict = require_certified(store, name, bundle)
    require_unburied(store, bundle)
    gate = certificate_of(store, name, bundle)
    assert gate is not None
    files = published_files(bundle, gate)
    with TemporaryDirectory() as folder:
        if private_key is not None:
            signature = Path(folder) / "signature.json"
            sign(files, private_key, signature)
            files[SIGNATURE] = signature
        if target.startswith(HUB):
            address = push_to_hub(files, target.removeprefix(HUB), number, public=public, apart=[SIGNATURE])
            yield f"pushed: {address}"
        else:
            record = push(files, target, name, number, apart=[SIGNATURE])
            yield f"pushed: {target}: {name} {number}, {len(record.files)} files, {record.digest[:12]}"
            if version is None:
                moved = point(target, name, number)
                yield f"current: {name} is {number} there since {moved.moved} (change {moved.number})"
    yield f"gate {verdict}"


def pull_release(store: Store, source: str, name: str, version: str | None, output: Path) -> Iterator[str]:
    """Bring a pushed version (the one that the name stands for there, by default) into the new folder ``output`` and
    check its certificate. Raises ValueError."""
    if version is None:
        pointed = current(source, name)
        if pointed is None:
            raise ValueError(f"{source} does not say which {name} is current; name a version")
        version = pointed.version
    record = pull(source, name, version, output)
    yield f"pulled: {name} {version}, {len(record.files)} files into {output}"
    yield from verify_release(store, str(output))


def published_files(bundle: ObjectRef, gate: ObjectRef) -> dict[str, Path]:
    """Relative path -> file of a release as others get it: the bundle, and its certificate in a folder of its own."""
    own = {path.relative_to(bundle.path).as_posix(): path for path in bundle.path.rglob("*") if path.is_file()}
    proof = {
        f"{CERTIFICATION}/{path.relative_to(gate.path).as_posix()}": path
        for path in gate.path.rglob("*")
        if path.is_file()
    }
    return own | proof


def _released(store: Store, name: str, version: str | None) -> ObjectRef:
    if version is None:
        return bundle_of(store, RELEASED, name)
    ref = store.refs.read(VERSIONS, f"{name}-{version}")
    if ref is None:
        known = ", ".join(store.refs.names(VERSIONS)) or "none"
        raise ValueError(f"no {name} {version} was released here; released: {known}")
    return store.object(ref.kind, ref.digest)
