"""What people do with releases: list them, check them again, publish what is approved, go back."""

from collections.abc import Iterator
from pathlib import Path

from infra.refs import Ref
from infra.signing import check_signature
from infra.store import Store
from tasks.releases import (
    APPROVED,
    CHANNELS,
    RELEASED,
    VERSIONS,
    certificate_of,
    only_name,
    publish,
    roll_back,
    version_folder,
)


def list_releases(store: Store) -> Iterator[str]:
    """Where each channel points, every version with its certificate, every move of what is released, every report."""
    for channel in CHANNELS:
        for ref in filter(None, (store.refs.read(channel, name) for name in store.refs.names(channel))):
            yield f"{channel:<10} {_shown(ref)}"
    for ref in filter(None, (store.refs.read(VERSIONS, name) for name in store.refs.names(VERSIONS))):
        gate = certificate_of(store, ref.name.rpartition("-")[0], store.object(ref.kind, ref.digest))
        certificate = "no certificate" if gate is None else f"certificate {gate.digest[:12]}"
        yield f"version    {ref.name}  {ref.digest[:12]}  {ref.moved[:19]}  {certificate}"
    for move in store.refs.log(RELEASED):
        yield f"log        {_shown(move)}"
    for path in sorted((store.base / "reports").glob("[!.]*")):
        if not path.is_symlink():
            yield f"report     {path.name}"


def _shown(ref: Ref) -> str:
    return f"{ref.name}  generation {ref.generation}  {ref.digest[:12]}  {ref.moved[:19]}  {ref.reason}"


SIGNATURE = "certification/signature.json"
"""Where a pushed release has its signature."""


def verify_release(
    store: Store,
    what: str,
    certification: Path | None = None,
    *,
    public_key: Path | None = None,
    draw: bool = False,
) -> Iterator[str]:
    """Check a published folder, or a version in the store, offline: with ``public_key`` also who signed it, with
    ``draw`` also that its sample is drawn the same again.

    Raises ValueError for the first thing that is wrong.
    """
    from diffsensei.gate.recheck import recheck
    from diffsensei.release.manifest import CERTIFICATION

    if Path(what).is_dir():
        bundle, found = Path(what), certification or Path(what) / CERTIFICATION
    else:
        bundle, found = version_folder(store, what)
    if public_key is not None:
        check_signature(bundle, bundle / SIGNATURE, public_key)
        yield f"signature: by the owner of {public_key}"
    checked = recheck(bundle, found)
    certificate = checked.certificate
    yield f"{certificate.name} {certificate.version}: {checked.num_files} files are as the manifest says"
    yield f"certificate: bound to this bundle, {checked.num_evidence} files of evidence"
    for outcome in certificate.rules:
        figure = (
            "" if outcome.estimate is None else f"  {outcome.estimate:+.4f} [{outcome.low:+.4f}, {outcome.high:+.4f}]"
        )
        yield f"rule {outcome.rule.name}: {outcome.state}{figure}"
        if outcome.waiver is not None:
            yield f"  waived by {outcome.waiver.by}: {outcome.waiver.reason}"
    if certificate.study is not None:
        yield f"human study: {certificate.study.state}"
    yield f"gate {certificate.verdict()}"
    if draw:
        yield draw_sample(bundle)


def draw_sample(bundle: Path) -> str:
    """Draw the bundle's sample again, in one line. Raises ValueError where it comes out otherwise."""
    from tempfile import TemporaryDirectory

    from diffsensei.release.verify import verify_bundle
    from tasks.drawing import hide_loading_bars

    hide_loading_bars()
    with TemporaryDirectory() as folder:
        for name in ("workspace", "output"):
            (Path(folder) / name).mkdir()
        verify_bundle(bundle=bundle, workspace=Path(folder) / "workspace", output=Path(folder) / "output")
    return "sample: drawn again, the same"


def publish_approved(store: Store, name: str | None) -> str:
    """Release what is approved; one line. Raises ValueError where it may not be."""
    ref = publish(store, only_name(store, APPROVED, name))
    return f"{ref.name} is released: generation {ref.generation}, {ref.digest[:12]}"


def roll_back_to(store: Store, channel: str, generation: int, name: str | None, reason: str) -> str:
    """Move a channel back; one line. Raises ValueError where it cannot be."""
    if channel not in CHANNELS:
        raise ValueError(f"unknown channel {channel!r}; known: {', '.join(CHANNELS)}")
    ref = roll_back(store, channel, only_name(store, channel, name), generation, reason)
    return f"{ref.channel} {ref.name} points at {ref.digest[:12]} again: generation {ref.generation}"
