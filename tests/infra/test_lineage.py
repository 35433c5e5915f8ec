"""Up and down over objects: by manifests, and by every key that gave the same content."""

from pathlib import Path

from infra.lineage import Lineage
from infra.manifest import Origin
from infra.stage import Ingredients
from infra.stage_folder import Done
from infra.store import ObjectRef, Store


def _object(store: Store, folder: Path, kind: str, *inputs: ObjectRef, text: str = "") -> ObjectRef:
    folder.mkdir()
    (folder / "file").write_text(text or folder.name)
    return store.publish_object(folder, kind, Origin(inputs={str(n): ref.digest for n, ref in enumerate(inputs)}))


def test_both_directions_include_the_start_and_no_strangers(store: Store, tmp_path: Path) -> None:
    pages = _object(store, tmp_path / "pages", "pages")
    panels = _object(store, tmp_path / "panels", "panels", pages)
    weights = _object(store, tmp_path / "weights", "weights", panels)
    report = _object(store, tmp_path / "report", "report", weights, pages)
    stranger = _object(store, tmp_path / "stranger", "pages")
    lineage = Lineage(store)
    assert lineage.upstream(weights) == {weights, panels, pages}
    assert lineage.downstream([panels]) == {panels, weights, report}
    assert lineage.users(pages) == {panels, report}
    assert lineage.sources(report) == {weights, pages}
    assert lineage.downstream([stranger]) == {stranger}


def test_content_that_two_keys_gave_has_the_inputs_of_both(store: Store, tmp_path: Path) -> None:
    """The manifest is of whoever came first; the second key's inputs are in its record."""
    first, second = (_object(store, tmp_path / name, "pages") for name in ("first", "second"))
    same = _object(store, tmp_path / "same", "panels", first)
    made = Ingredients(
        name="panels",
        version=1,
        entry="a:b",
        config={},
        literals={},
        identity={},
        packages={},
        inputs={"pages": second.digest},
    )
    stage = store.stage_folder("panels", made.key())
    stage.path.mkdir(parents=True)
    record = {"attempts": 1, "wall_s": 1.0, "finished": "2026-01-01T00:00:00"}
    stage.record_done(Done(key=made.key(), kind="panels", digest=same.digest, ingredients=made, **record))
    assert Lineage(store).upstream(same) == {same, first, second}
    assert Lineage(store).downstream([second]) == {second, same}


def test_a_long_chain_is_walked_once(store: Store, tmp_path: Path) -> None:
    """No recursion, and each object once."""
    refs = [_object(store, tmp_path / "0", "n")]
    for number in range(1, 300):
        refs.append(_object(store, tmp_path / str(number), "n", refs[-1], refs[0]))
    lineage = Lineage(store)
    assert lineage.upstream(refs[-1]) == set(refs)
    assert lineage.downstream([refs[0]]) == set(refs)


def test_a_damaged_manifest_has_no_edges_and_stops_nobody(store: Store, tmp_path: Path) -> None:
    pages = _object(store, tmp_path / "pages", "pages")
    panels = _object(store, tmp_path / "panels", "panels", pages)
    panels.manifest_path.write_text("{}")
    assert Lineage(store).manifests.keys() == {pages}
