"""Label Studio: pages as tasks with the machine's boxes as predictions, and what annotators made of them as edits.

A region is a rectangle in percent of the page, named like its box, with a ``textarea`` (character_id) and ``choices``
(type) of the same region id.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from diffsensei.data.annotation.boxes import AnnotatedBox
from diffsensei.data.annotation.edits import Edit, first_fault
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.annotation.regions import Region, checked_region, edits_between, regions_of
from diffsensei.data.page_paths import page_id_of

TYPES = ("0 clean", "1 vague", "2 exaggerated")
LABELING_CONFIG = """<View>
  <Image name="image" value="$image" zoom="true" zoomControl="true"/>
  <RectangleLabels name="kind" toName="image">
    <Label value="frame" background="#8a8a86"/>
    <Label value="character" background="#1f6fd6"/>
    <Label value="dialog" background="#1d8a3c"/>
  </RectangleLabels>
  <TextArea name="character_id" toName="image" perRegion="true" editable="true" maxSubmissions="1"
            whenTagName="kind" whenLabelValue="character" placeholder="who: an id of this page, or a new one"/>
  <Choices name="type" toName="image" perRegion="true" choice="single-radio"
           whenTagName="kind" whenLabelValue="character">
    <Choice value="0 clean"/>
    <Choice value="1 vague"/>
    <Choice value="2 exaggerated"/>
  </Choices>
</View>
"""
"""To paste into the project's labeling interface."""


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Value(_Loose):
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    rotation: float = 0.0
    rectanglelabels: tuple[str, ...] = ()
    text: tuple[str, ...] | str = ()
    choices: tuple[str, ...] = ()


class _Result(_Loose):
    id: str = ""
    type: str
    from_name: str = ""
    original_width: int = Field(default=0, ge=0, le=100_000)
    original_height: int = Field(default=0, ge=0, le=100_000)
    value: _Value = _Value()


class _Annotation(_Loose):
    result: tuple[_Result, ...] = ()
    completed_by: int | str | dict[str, Any] = "unknown"
    was_cancelled: bool = False
    ground_truth: bool = False
    updated_at: datetime | None = None
    created_at: datetime | None = None


class _Data(_Loose):
    page_key: str
    width: int = Field(ge=1, le=100_000)
    height: int = Field(ge=1, le=100_000)


class _Task(_Loose):
    data: _Data
    annotations: tuple[_Annotation, ...] = ()


def task_of(
    page_key: str, boxes: Mapping[str, AnnotatedBox], size: tuple[int, int], *, image_prefix: str, model_version: str
) -> dict[str, Any]:
    """The task of one page; ``image_prefix`` is what comes before ``<page id>.png`` where Label Studio fetches it."""
    width, height = size
    results: list[dict[str, Any]] = []
    for region in regions_of(boxes, width, height):
        x1, y1, x2, y2 = region.bbox
        place = {
            "x": 100 * x1 / width,
            "y": 100 * y1 / height,
            "width": 100 * (x2 - x1) / width,
            "height": 100 * (y2 - y1) / height,
            "rotation": 0,
        }
        common = {"id": region.box_id, "to_name": "image", "original_width": width, "original_height": height}

        def result(name: str, kind: str, value: dict[str, Any], common: dict[str, Any] = common) -> dict[str, Any]:
            return {**common, "type": kind, "from_name": name, "image_rotation": 0, "value": value}

        results.append(result("kind", "rectanglelabels", {**place, "rectanglelabels": [region.kind]}))
        if region.kind == "character":
            results.append(result("character_id", "textarea", {**place, "text": [region.label]}))
            results.append(result("type", "choices", {**place, "choices": [TYPES[region.type]]}))
    return {
        "data": {
            "image": f"{image_prefix}{page_id_of(page_key)}.png",
            "page_key": page_key,
            "width": width,
            "height": height,
        },
        "predictions": [{"model_version": model_version, "score": 0.5, "result": results}],
    }


def read_label_studio(path: Path, machine: MachineLayer) -> list[Edit]:
    """The edits in an export (JSON) of Label Studio: of every annotation that was not cancelled, task by task.

    An annotation marked as ground truth is adjudicated. Raises ValueError (one line) naming the task that does not fit.
    """
    try:
        raw = json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name} is not JSON ({error}); expected Label Studio's export") from None
    if not isinstance(raw, list):
        raise ValueError(f"{path.name} holds a {type(raw).__name__}; expected Label Studio's export, a list of tasks")
    edits: list[Edit] = []
    adapter = TypeAdapter(_Task)
    for number, item in enumerate(raw):
        try:
            edits += _edits_of(adapter.validate_python(item), machine)
        except ValidationError as error:
            raise ValueError(f"{path.name} task {number}, {first_fault(error)}") from None
        except ValueError as error:
            raise ValueError(f"{path.name} task {number}: {error}") from None
    return edits


def _edits_of(task: _Task, machine: MachineLayer) -> list[Edit]:
    page_key, size = task.data.page_key, (task.data.width, task.data.height)
    boxes = machine.boxes(page_key)
    edits: list[Edit] = []
    for annotation in task.annotations:
        if annotation.was_cancelled:
            continue
        when = annotation.updated_at or annotation.created_at or datetime.fromtimestamp(0, UTC)
        edits += edits_between(
            page_key,
            boxes,
            _regions(annotation.result, size),
            size=size,
            annotator=_annotator(annotation.completed_by),
            ts=when if when.tzinfo else when.replace(tzinfo=UTC),
            adjudicated=annotation.ground_truth,
        )
    return edits


def _annotator(who: int | str | dict[str, Any]) -> str:
    if isinstance(who, dict):
        who = str(who.get("email") or who.get("id") or "unknown")
    return f"label-studio:{who}"


def _regions(results: Iterable[_Result], size: tuple[int, int]) -> list[Region]:
    rectangles: dict[str, _Result] = {}
    who: dict[str, str] = {}
    types: dict[str, str] = {}
    for result in results:
        # Label Studio appends the annotation to the name of a region that came from a prediction.
        name = result.id.partition("#")[0]
        if result.type == "rectanglelabels":
            rectangles[name] = result
        elif result.from_name == "character_id":
            text = result.value.text
            who[name] = text if isinstance(text, str) else (text[-1] if text else "")
        elif result.from_name == "type" and result.value.choices:
            types[name] = result.value.choices[0][:1]
    regions = []
    for name, result in rectangles.items():
        value = result.value
        if value.rotation:
            raise ValueError(f"region {name[:40]!r} is rotated by {value.rotation:g} degrees; boxes must be upright")
        if (result.original_width, result.original_height) not in (size, (0, 0)):
            came = f"{result.original_width}x{result.original_height}"
            raise ValueError(f"region {name[:40]!r} is of an image of {came}; the page has {size[0]}x{size[1]}")
        kind = value.rectanglelabels[0] if value.rectanglelabels else ""
        x1, y1 = value.x * size[0] / 100, value.y * size[1] / 100
        bbox = (x1, y1, x1 + value.width * size[0] / 100, y1 + value.height * size[1] / 100)
        regions.append(checked_region(name, kind, bbox, who.get(name, ""), types.get(name, "0")))
    return regions
