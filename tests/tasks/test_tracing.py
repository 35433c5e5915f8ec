"""A page followed from its pixels to the report, taken down, and gone from the next ingest."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from diffsensei.config import load_preset
from diffsensei.config.schema import SplitConfig, SyntheticSource
from diffsensei.data.download.pages import download_pages
from diffsensei.data.page_paths import page_id_of
from diffsensei.data.panels.cutting import cut_panels
from diffsensei.data.sources.annotations import collect_annotations
from diffsensei.data.validation.pages import validate_pages
from infra.manifest import Origin
from infra.store import ObjectRef, Store
from tasks.tombstones import buried_under
from tasks.tracing import Trace, bury_page, trace_page

pytestmark = pytest.mark.slow

SOURCE = SyntheticSource(num_series=2, pages_per_series=4, page_height=192, seed=3)
DATA = load_preset("tiny").data


@dataclass
class World:
    """Drawn pages in a store, as the stages leave them."""

    store: Store
    root: Path
    objects: dict[str, ObjectRef]

    def folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir()
        return folder

    def publish(self, kind: str, folder: Path, *inputs: str) -> ObjectRef:
        origin = Origin(inputs={name: self.objects[name].digest for name in inputs})
        self.objects[kind] = self.store.publish_object(folder, kind, origin)
        return self.objects[kind]

    def validate(self, name: str) -> Path:
        output = self.folder(name)
        downloaded = self.objects["download"].path
        with ThreadPoolExecutor(1) as executor:
            validate_pages(
                validation=DATA.validation.replaced(min_panel_side=16),
                download=DATA.download,
                annotations=downloaded,
                download_dir=downloaded,
                workspace=self.folder(f"{name}-work"),
                output=output,
                executor=executor,
                tombstones=self.store.base / "tombstones",
            )
        return output

    def page(self, half: str) -> dict[str, Any]:
        """The first page of the training or held-out half: its row in the validated table."""
        panels = pd.read_parquet(self.objects["panels"].path / half / "panels.parquet")
        pages = pd.read_parquet(self.objects["validate"].path / "pages.parquet").set_index("page_id")
        page_id = str(panels["page_id"].iloc[0])
        return {"page_id": page_id, **pages.loc[page_id]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    world = World(Store(root / "store"), root, {})
    annotations = world.folder("annotations")
    collect_annotations(source=SOURCE, workspace=world.folder("w0"), output=annotations)
    downloaded = world.folder("downloaded")
    download_pages(
        source=SOURCE,
        download=DATA.download,
        library=root / "library",
        limits=root / "limits",
        annotations=annotations,
        workspace=world.folder("w1"),
        output=downloaded,
    )
    world.publish("download", downloaded)
    world.publish("validate", world.validate("validated"), "download")
    panels = world.folder("panels")
    split = SplitConfig(eval_pages_per_series=1, min_panels=1)
    with ThreadPoolExecutor(1) as executor:
        cut_panels(
            split=split,
            validated=world.objects["validate"].path,
            workspace=world.folder("w2"),
            output=panels,
            executor=executor,
        )
    world.publish("panels", panels, "validate")
    for kind, mark, *inputs in (
        ("benchmark", "panels.jsonl", "panels"),
        ("evaluation_panels", "split.json", "validate", "panels"),  # other pages, held against these
        ("evaluation_benchmark", "panels.jsonl", "evaluation_panels"),
        ("stage1", "training.json", "panels"),
        ("generate_diffsensei", "generation.json", "benchmark", "stage1"),
        ("score", "summary.json", "benchmark", "generate_diffsensei"),
        ("bundle", "pipeline/model_index.json", "stage1", "score"),
        ("report", "index.html", "score", "bundle", "panels"),
    ):
        folder = world.folder(f"made-{kind}")
        (folder / mark).parent.mkdir(exist_ok=True)
        (folder / mark).write_text(kind)
        world.publish(kind, folder, *inputs)
    world.store.refs.move("released", "tiny", "bundle", world.objects["bundle"].digest, expected=None)
    return world


def _kinds(trace: Trace) -> set[str]:
    return {ref.kind for refs in trace.used.values() for ref in refs}


def test_a_trained_page_is_behind_weights_and_all_they_made(world: World) -> None:
    page = world.page("train")
    trace = trace_page(world.store, page["image_path"])
    ((trained, held_out),) = trace.panels.values()
    assert trained > 0
    assert held_out == 0
    assert {group: [ref.kind for ref in refs] for group, refs in trace.used.items()} == {
        "pages": ["validate"],
        "panel sets": ["panels"],
        "checkpoints": ["stage1"],
        "samples": ["generate_diffsensei"],
        "scores": ["score"],
        "releases": ["bundle"],
        "reports": ["report"],
    }
    assert trace.references == ("released/tiny",)
    assert "reference: released/tiny" in trace.lines()


def test_a_held_out_page_is_behind_the_benchmark_and_no_weights(world: World) -> None:
    trace = trace_page(world.store, world.page("eval")["image_path"])
    assert "checkpoints" not in trace.used
    assert {"benchmarks", "samples", "scores", "reports"} <= trace.used.keys()


def test_path_id_image_and_url_name_the_same_page(world: World) -> None:
    page = world.page("train")
    halves = pd.read_parquet(world.objects["download"].path / "halves.parquet")
    url = halves.loc[halves["sha256"] == page["sha256_1"], "url"].iloc[0]
    whole = trace_page(world.store, page["image_path"])
    for asked in (page["page_id"], page["sha256_1"], page["sha256_2"], page["image_sha256"], url):
        assert trace_page(world.store, asked).used == whole.used
    unknown = trace_page(world.store, "Nobody/1.jpg")
    assert unknown.lines() == ["Nobody/1.jpg: in no validated page of this store"]


def test_a_page_taken_down_blocks_what_rests_on_it_and_the_next_ingest_drops_it(world: World) -> None:
    page = world.page("train")
    assert buried_under(world.store, world.objects["bundle"]) == []
    stone = bury_page(world.store, page["image_path"], "the author asked")
    assert (stone.page_ids, stone.image_paths) == ((page["page_id"],), (page["image_path"],))
    assert set(stone.sha256) == {page["sha256_1"], page["sha256_2"]}
    assert buried_under(world.store, world.objects["bundle"]) == [stone]
    told = trace_page(world.store, page["sha256_1"]).lines()
    assert told[-1].endswith("the author asked")

    again = world.validate("validated-again")
    before = pd.read_parquet(world.objects["validate"].path / "pages.parquet")
    after = pd.read_parquet(again / "pages.parquet")
    assert set(before["page_id"]) - set(after["page_id"]) == {page["page_id"]}
    assert not (again / "pages" / f"{page['page_id']}.png").exists()
    quarantine = pd.read_parquet(again / "quarantine.parquet")
    row = quarantine[quarantine["page_id"] == page["page_id"]].iloc[0]
    assert (row["state"], row["reason"], row["evidence"]) == ("removed", "taken_down", "the author asked")
    assert buried_under(world.store, world.publish("validate_again_validate", again, "download")) == []


def test_a_page_that_is_not_here_yet_can_be_taken_down(world: World) -> None:
    stone = bury_page(world.store, "Later/1.jpg", "the author asked")
    assert stone.page_ids == (page_id_of("Later/1.jpg"),)
    assert bury_page(world.store, "https://h/x.jpg", "the author asked").urls == ("https://h/x.jpg",)
    assert bury_page(world.store, "d" * 64, "the author asked").sha256 == ("d" * 64,)
