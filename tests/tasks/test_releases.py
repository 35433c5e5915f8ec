"""From candidate to release and back: what moves a bundle on, and what refuses to."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from diffsensei.config import ExperimentConfig, load_preset
from diffsensei.config.gate import GateConfig
from diffsensei.data.tombstones import record_tombstone
from diffsensei.release import manifest
from diffsensei.release.manifest import write_manifest
from infra.manifest import GitState, Origin
from infra.store import ObjectRef, Store
from tasks import handing_over
from tasks.handing_over import pull_release, push_release
from tasks.releases import (
    APPROVED,
    CANDIDATE,
    RELEASED,
    VERSIONS,
    NotReleasable,
    Settled,
    bundle_of,
    previous_scores,
    publish,
    roll_back,
    settle,
)
from tasks.releasing import list_releases, verify_release
from tests.gate.conftest import gate, make_candidate, rule
from tests.infra.signing_keys import new_keys
from tests.tasks.conftest import ValidatedPage

NAME = load_preset("tiny").release.name
PASSES = gate(rule())
UNKNOWN = GitState()
FAILS = gate(rule(margin=0.3))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


Build = Callable[..., tuple[ExperimentConfig, ObjectRef, ObjectRef]]


@pytest.fixture
def build(store: Store, tmp_path: Path) -> Build:
    """Publishes a bundle with these weights, and its gate's result; gives configuration, bundle and gate."""
    numbers = iter(range(100))

    def make(
        weights: str,
        rules: GateConfig = PASSES,
        version: str = "0.1.0",
        git: GitState = UNKNOWN,
        pages: ObjectRef | None = None,
        pages_licences: Sequence[dict[str, str]] = (),
        **scored: Any,
    ) -> tuple[ExperimentConfig, ObjectRef, ObjectRef]:
        release = load_preset("tiny").release.replaced(version=version, pages_licences=pages_licences)
        config = load_preset("tiny").replaced(gate=rules, release=release)
        candidate = make_candidate(tmp_path / f"candidate-{next(numbers)}", **scored)
        (candidate.bundle / "weights.safetensors").write_text(weights)
        write_manifest(candidate.bundle, NAME, version)
        behind = {} if pages is None else {"panels": pages.digest}
        score = store.publish_object(candidate.score, "score", Origin(git=git, inputs=behind))
        origin = Origin(config={"release": config.release.model_dump()}, inputs={"score": score.digest}, git=git)
        bundle = store.publish_object(candidate.bundle, "bundle", origin)
        previous = previous_scores(store, config.release)
        certificate = candidate.certify(rules, version, previous=None if previous is None else previous.path)
        return config, bundle, store.publish_object(certificate, "gate")

    return make


def _settle(store: Store, built: tuple[ExperimentConfig, ObjectRef, ObjectRef]) -> Settled:
    return settle(store, *built)


def test_what_passes_is_released_and_doing_it_again_changes_nothing(store: Store, build: Build) -> None:
    built = build("one")
    settled = _settle(store, built)
    assert (settled.channel, settled.lines[-1]) == (RELEASED, f"{NAME} 0.1.0 is released")
    assert "gate passed: 1 of 1 rules hold" in settled.lines
    for channel in (CANDIDATE, APPROVED, RELEASED):
        assert bundle_of(store, channel, NAME) == built[1]
    log = store.refs.log_path.read_bytes()
    assert _settle(store, built).channel == RELEASED
    assert store.refs.log_path.read_bytes() == log


def test_what_fails_stays_a_candidate_and_publishing_it_is_refused(store: Store, build: Build) -> None:
    settled = _settle(store, build("one", FAILS))
    assert settled.channel == CANDIDATE
    (line,) = settled.lines
    assert line.startswith(f"{NAME} 0.1.0 stays candidate: {NAME} 0.1.0: the gate was not passed: identity: dino_c")
    with pytest.raises(NotReleasable, match=f"no {NAME} is approved"):
        publish(store, NAME)
    with pytest.raises(ValueError, match="there is a candidate"):
        bundle_of(store, RELEASED, NAME)


def test_by_hand_means_approved_until_published(store: Store, build: Build) -> None:
    built = build("one", gate(rule(), release="by_hand"))
    settled = _settle(store, built)
    assert settled.channel == APPROVED
    assert "diffsensei release publish" in settled.lines[-1]
    assert store.refs.read(RELEASED, NAME) is None
    assert publish(store, NAME).digest == built[1].digest


def test_a_version_is_given_once(store: Store, build: Build) -> None:
    first = build("one")
    _settle(store, first)
    other = build("two")
    settled = _settle(store, other)
    assert settled.channel == APPROVED
    assert "0.1.0 is released already with other weights" in settled.lines[0]
    assert bundle_of(store, RELEASED, NAME) == first[1]
    raised = build("two", version="0.2.0")
    assert _settle(store, raised).channel == RELEASED
    assert store.refs.names(VERSIONS) == [f"{NAME}-0.1.0", f"{NAME}-0.2.0"]


def test_a_changed_bundle_is_refused(store: Store, build: Build) -> None:
    config, bundle, certificate = build("one")
    path = bundle.path / "weights.safetensors"
    path.chmod(0o644)
    path.write_text("eno")
    settled = settle(store, config, bundle, certificate)
    assert settled.channel == CANDIDATE
    assert "has other bytes than were stored" in settled.lines[0]


def test_the_certificate_of_another_bundle_is_refused(store: Store, build: Build) -> None:
    config, bundle, _ = build("one")
    *_, other = build("two")
    assert "manifest.json has sha256" in settle(store, config, bundle, other).lines[0]


def test_uncommitted_code_is_refused_where_the_gate_asks(store: Store, build: Build) -> None:
    strict = gate(rule(), require_clean_code=True)
    settled = _settle(store, build("one", strict, git=GitState(commit="a" * 40, dirty=True)))
    assert "ran from uncommitted code" in settled.lines[0]
    gains = {"diffsensei": 0.12, "sdxl_t2i": 0.0}
    assert _settle(store, build("two", strict, git=GitState(commit="a" * 40), gains=gains)).channel == RELEASED


OURS = {"pages": "Ours/*", "licence": "drawn by us"}
ALL = {"pages": "*", "licence": "CC-BY-4.0"}


@pytest.mark.parametrize(
    ("source", "licences", "unknown"),
    [
        ({"kind": "files", "paths": ["Ours", "Theirs"]}, [], "Ours/001.jpg and 1 more"),
        ({"kind": "files", "paths": ["Ours", "Theirs"]}, [OURS], "Theirs/001.jpg"),
        ({"kind": "mangazero", "annotations": "a.json"}, [OURS], "Theirs/001.jpg"),
        ({"kind": "files", "paths": ["Ours", "Theirs"]}, [OURS, ALL], ""),
        ({"kind": "mangazero", "annotations": "a.json"}, [ALL], ""),
        ({"kind": "synthetic"}, [], ""),
        ({"kind": "manga109", "root": "m", "accept_terms": True}, [], ""),
    ],
)
def test_what_was_made_from_pages_of_unknown_licence_is_not_released(
    store: Store,
    build: Build,
    validated_page: ValidatedPage,
    tmp_path: Path,
    source: dict[str, Any],
    licences: list[dict[str, str]],
    unknown: str,
) -> None:
    collected = _collected(store, tmp_path, source)
    pages = validated_page(store, "Ours/001.jpg", "Theirs/001.jpg", inputs={"annotations": collected.digest})
    built = build("one", pages=pages, pages_licences=licences)
    settled = _settle(store, built)
    assert settled.channel == (CANDIDATE if unknown else RELEASED)
    if unknown:
        refused = f"the licence of its pages is not known ({unknown}); name it in release.pages_licences"
        assert refused in settled.lines[0]
        store.refs.move(APPROVED, NAME, "bundle", built[1].digest, expected=None)
        with pytest.raises(NotReleasable, match="licence of its pages"):
            publish(store, NAME)


def test_pages_whose_table_is_gone_are_of_unknown_licence(store: Store, build: Build, tmp_path: Path) -> None:
    collected = _collected(store, tmp_path, {"kind": "files", "paths": ["scans"]})
    settled = _settle(store, build("one", pages=collected, pages_licences=[ALL]))
    assert "the licence of its pages is not known (all of files)" in settled.lines[0]


def _collected(store: Store, tmp_path: Path, source: dict[str, Any]) -> ObjectRef:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "annotations.json").write_text("[]")
    return store.publish_object(tmp_path / "annotations", "annotations", Origin(config={"data.source": source}))


def test_a_release_must_keep_what_the_last_one_had(store: Store, build: Build) -> None:
    keeps = rule(name="keeps", against={"kind": "previous"}, claim="not_inferior", margin=0.03)
    assert _settle(store, build("one", gate(keeps))).channel == RELEASED
    worse = build("two", gate(keeps), version="0.2.0", gains={"diffsensei": 0.0, "sdxl_t2i": 0.0})
    settled = _settle(store, worse)
    assert settled.channel == CANDIDATE
    assert "against the previous release" in settled.lines[0]


def test_a_previous_release_that_is_gone_is_said(store: Store, build: Build) -> None:
    built = build("one")
    _settle(store, built)
    assert previous_scores(store, built[0].release) is None
    later = built[0].release.replaced(version="0.2.0")
    score = previous_scores(store, later)
    assert score is not None
    shutil.rmtree(score.path.parent)
    with pytest.raises(ValueError, match="its scores are needed to test this one"):
        previous_scores(store, later)


def test_rolling_back_is_a_move_like_any_other_and_no_run_undoes_it(store: Store, build: Build) -> None:
    first, second = build("one"), build("two", version="0.2.0")
    _settle(store, first)
    _settle(store, second)
    ref = roll_back(store, RELEASED, NAME, 1, "hands are worse")
    assert (ref.generation, ref.digest) == (3, first[1].digest)
    assert ref.reason == "rolled back to generation 1: hands are worse"
    settled = _settle(store, second)
    assert "was released once and another one is now" in settled.lines[0]
    assert bundle_of(store, RELEASED, NAME) == first[1]
    assert publish(store, NAME).generation == 4
    for channel, generation, said in (("released", 9, "known: 1 to 4"), ("latest", 1, "unknown channel")):
        with pytest.raises(ValueError, match=said):
            roll_back(store, channel, NAME, generation, "why")


def test_a_release_that_rests_on_a_page_taken_down_moves_no_more(
    store: Store, build: Build, validated_page: Callable[..., ObjectRef], tmp_path: Path
) -> None:
    pages = validated_page(store, "Series/001.jpg")
    config, bundle, certificate = build("one", gate(rule(), release="by_hand"))
    origin = Origin(config={"release": config.release.model_dump()}, inputs={"pages": pages.digest})
    shutil.rmtree(bundle.path.parent)
    shutil.copytree(tmp_path / "candidate-0" / "bundle", tmp_path / "again")
    assert store.publish_object(tmp_path / "again", "bundle", origin) == bundle
    _settle(store, (config, bundle, certificate))
    record_tombstone(store.base / "tombstones", "Series/001.jpg", "the author asked", page_ids=["a" * 16])
    with pytest.raises(NotReleasable, match=r"rests on page .* taken down because: the author asked"):
        publish(store, NAME)
    with pytest.raises(NotReleasable, match="taken down"):
        roll_back(store, APPROVED, NAME, 1, "why")


def test_releases_are_listed_and_verified_by_version(store: Store, build: Build, tmp_path: Path) -> None:
    _settle(store, build("one"))
    lines = list(list_releases(store))
    assert [line.split()[0] for line in lines] == ["candidate", "approved", "released", "version", "log"]
    told = list(verify_release(store, f"{NAME}-0.1.0"))
    assert told[-1] == "gate passed: 1 of 1 rules hold"
    with pytest.raises(ValueError, match=f"no version {NAME}-9.9.9 was released here; released: {NAME}-0.1.0"):
        list(verify_release(store, f"{NAME}-9.9.9"))


def test_a_release_is_handed_over_with_its_certificate(store: Store, build: Build, tmp_path: Path) -> None:
    target = str(tmp_path / "target")
    with pytest.raises(ValueError, match="released has no names"):
        list(push_release(store, target))
    _settle(store, build("one"))
    pushed = list(push_release(store, target))
    assert pushed[0].startswith(f"pushed: {target}: {NAME} 0.1.0, 5 files")
    assert pushed[1].startswith(f"current: {NAME} is 0.1.0 there since ")
    elsewhere = Store(tmp_path / "elsewhere")
    told = list(pull_release(elsewhere, target, NAME, "0.1.0", tmp_path / "back"))
    assert told[-1] == "gate passed: 1 of 1 rules hold"
    assert (tmp_path / "back" / "weights.safetensors").read_text() == "one"
    assert next(pull_release(elsewhere, target, NAME, None, tmp_path / "newest")) == (
        f"pulled: {NAME} 0.1.0, 5 files into {tmp_path / 'newest'}"
    )
    _settle(store, build("two", version="0.2.0"))
    assert len(list(push_release(store, target, version="0.1.0"))) == 2, "what is named is pushed, and no more"
    list(push_release(store, target))
    assert f"{NAME} 0.2.0" in next(pull_release(elsewhere, target, NAME, None, tmp_path / "newer"))
    (tmp_path / "back" / "weights.safetensors").write_text("eno")
    with pytest.raises(ValueError, match="has sha256"):
        list(verify_release(elsewhere, str(tmp_path / "back")))


def test_a_release_can_be_signed(store: Store, build: Build, tmp_path: Path) -> None:
    pytest.importorskip("model_signing.signing", reason="model-signing is not installed: signatures are not tested")
    private, public = new_keys(tmp_path, "maker")
    _, other = new_keys(tmp_path, "other")
    _settle(store, build("one"))
    target = str(tmp_path / "target")
    for _ in range(2):  # a signature differs each time; the version is the same
        assert next(iter(push_release(store, target, private_key=private))).startswith("pushed")
    list(pull_release(store, target, NAME, "0.1.0", tmp_path / "back"))
    told = list(verify_release(store, str(tmp_path / "back"), public_key=public))
    assert told[0] == f"signature: by the owner of {public}"
    with pytest.raises(ValueError, match=r"does not hold for other\.pub"):
        list(verify_release(store, str(tmp_path / "back"), public_key=other))


def test_the_certificate_lies_where_the_bundle_expects_it() -> None:
    assert handing_over.CERTIFICATION == manifest.CERTIFICATION


def test_what_was_only_approved_is_not_handed_over(store: Store, build: Build, tmp_path: Path) -> None:
    _settle(store, build("one"))
    _settle(store, build("two", gate(rule(), release="by_hand"), version="0.2.0"))
    with pytest.raises(ValueError, match=rf"no {NAME} 0\.2\.0 was released here; released: {NAME}-0\.1\.0"):
        list(push_release(store, str(tmp_path / "target"), version="0.2.0"))
