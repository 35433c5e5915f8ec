"""Folders that a drawing tool imports: the pages' images and the machine's boxes on them."""

import json
from pathlib import Path
from typing import Literal

from diffsensei.data.annotation.annotated_folder import AnnotatedFolder
from diffsensei.data.annotation.boxes import AnnotatedBox
from diffsensei.data.annotation.cvat import LABELS, write_cvat
from diffsensei.data.annotation.label_studio import LABELING_CONFIG, task_of
from diffsensei.data.images import encode_png
from diffsensei.data.page_paths import page_id_of

MODEL_VERSION = "machine"


def export_pages(
    folder: AnnotatedFolder, output: Path, kind: Literal["label-studio", "cvat"], image_prefix: str
) -> list[Path]:
    """Write ``images/<page id>.png`` and the tool's files into ``output``; return the latter.

    ``label-studio``: ``tasks.json``, with ``image_prefix`` before the name of each image, and ``labeling.xml`` to
    paste. ``cvat``: ``annotations.xml`` and ``labels.json`` to paste. Raises ValueError (one line) if ``output`` has
    files in it, or no page has its image.
    """
    if output.is_dir() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty; give a new folder, or empty it")
    images = output / "images"
    images.mkdir(parents=True)
    shown: list[tuple[str, dict[str, AnnotatedBox], tuple[int, int]]] = []
    for key, _, image in folder.pages():
        (images / f"{page_id_of(key)}.png").write_bytes(encode_png(image))
        shown.append((key, folder.machine.boxes(key), (image.shape[1], image.shape[0])))
    if not shown:
        raise ValueError("no page has its image; give the output of the download stage")
    if kind == "cvat":
        paths = [output / "annotations.xml", output / "labels.json"]
        write_cvat(shown, paths[0])
        paths[1].write_text(json.dumps(LABELS, indent=1))
        return paths
    paths = [output / "tasks.json", output / "labeling.xml"]
    tasks = [
        task_of(key, boxes, size, image_prefix=image_prefix, model_version=MODEL_VERSION) for key, boxes, size in shown
    ]
    paths[0].write_text(json.dumps(tasks, indent=1))
    paths[1].write_text(LABELING_CONFIG)
    return paths
