"""From finished drawings to blinded packets and their key."""

import csv
import io
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from diffsensei.config.schema import StudyConfig
from diffsensei.evaluation.benchmark import BenchmarkPanel, read_pages
from diffsensei.seeding import numpy_stream
from diffsensei.study.design import PlannedTrial, plan_trials
from diffsensei.study.packets import (
    KeyRater,
    KeyTrial,
    Packet,
    StudyKey,
    Trial,
    derived_name,
    derived_token,
    packet_digest,
    token_digest,
)
from diffsensei.study.pages import anonymous_png, compose, page_frame, ruined
from diffsensei.study.results import ASPECTS

LEAST_PANELS = 2
"""A page of one panel shows no consistency."""
MOST_CHARACTERS = 6
TRUTH, RUIN = "truth", "ruin"
CONSENT = (
    "You will see pages of manga that computer programs have drawn, and say which you like better. It is about the "
    "programs; there are no right or wrong answers.",
    "Taking part is voluntary. You may stop at any time by closing this page; what you have answered until then is "
    "used unless you ask for it to be deleted.",
    "Only your answers and how long you took are kept, under a number: no name, no address.",
)
"""What raters agree to unless the organiser gives another text; docs/study.md says what it must cover."""


def prepare_study(
    *,
    study: StudyConfig,
    seed: int,
    benchmark: Path,
    drawings: Mapping[str, Path],
    output: Path,
    consent: Sequence[str] = CONSENT,
    secret: bytes | None = None,
    advance: Callable[[], None] = lambda: None,
) -> StudyKey:
    """Write ``output/packets`` and ``output/key``; returns the key.

    ``drawings`` has for each method the folder of its panel images, ``<panel_id>.png`` as `generate_panels` writes them
    (``images/<seed>``); ``benchmark`` is what `freeze_benchmark` wrote. The plan and all pixels follow from ``seed``,
    names and tokens from ``secret``, which is drawn anew if not given. ``advance`` is called after each packet.
    Raises ValueError for drawings that lack a panel, or pages that cannot be shown.
    """
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty; a study is prepared once: give a new folder")
    secret = secret or secrets.token_bytes(32)
    pages = _pages(read_pages(benchmark))
    _check_drawings(pages, drawings)
    plan = plan_trials(study, list(drawings), list(pages), seed)
    raters = []
    for number, planned in enumerate(plan, start=1):
        writer = _PacketWriter(study, seed, secret, benchmark, drawings, pages, output, number)
        raters.append(writer.write(planned, tuple(consent)))
        advance()
    key = StudyKey(
        study=derived_name(secret, "study"),
        seed=seed,
        secret=secret.hex(),
        config=study,
        methods=tuple(drawings),
        aspects=ASPECTS,
        raters=tuple(raters),
    )
    (output / "packets" / "invitations.json").write_text(
        json.dumps({rater.token_digest: rater.packet for rater in raters}, indent=1, sort_keys=True) + "\n"
    )
    folder = output / "key"
    folder.mkdir(mode=0o700)
    (folder / "key.json").write_text(key.model_dump_json(indent=1) + "\n")
    (folder / "invitations.csv").write_text(_invitations(raters, secret))
    for path in folder.iterdir():
        path.chmod(0o600)
    return key


class _PacketWriter:
    """One rater's packet."""

    def __init__(
        self,
        study: StudyConfig,
        seed: int,
        secret: bytes,
        benchmark: Path,
        drawings: Mapping[str, Path],
        pages: dict[str, list[BenchmarkPanel]],
        output: Path,
        number: int,
    ) -> None:
        self._study, self._seed, self._secret, self._number = study, seed, secret, number
        self._benchmark, self._drawings, self._pages = benchmark, drawings, pages
        self._name = derived_name(secret, "packet", number)
        self._folder = output / "packets" / self._name
        (self._folder / "images").mkdir(parents=True)

    def write(self, planned: Sequence[PlannedTrial], consent: tuple[str, ...]) -> KeyRater:
        """packet.json and its images; returns the packet's part of the key."""
        written = [self._trial(position, trial) for position, trial in enumerate(planned)]
        packet = Packet(
            study=derived_name(self._secret, "study"),
            packet=self._name,
            aspects=ASPECTS,
            consent=consent,
            trials=tuple(trial for trial, _ in written),
        )
        (self._folder / "packet.json").write_text(packet.model_dump_json() + "\n")
        return KeyRater(
            rater=f"rater-{self._number:03d}",
            packet=self._name,
            digest=packet_digest(packet),
            token_digest=token_digest(derived_token(self._secret, self._number)),
            trials=tuple(key for _, key in written),
        )

    def _trial(self, position: int, planned: PlannedTrial) -> tuple[Trial, KeyTrial]:
        panels = self._pages[planned.page]
        frame = page_frame([(panel.height, panel.width) for panel in panels], self._study.page_width)
        rng = numpy_stream(self._seed, "study", "check", self._number, position)
        sides: tuple[str, ...] = planned.methods or ((TRUTH, RUIN) if rng.random() < 0.5 else (RUIN, TRUTH))
        options = []
        for place, side in enumerate(sides):
            folder = self._drawings[side] if planned.methods else self._benchmark / "truth"
            images = [
                _opened(self._benchmark / panel.given if panel.given else folder / f"{panel.panel_id}.png")
                for panel in panels
            ]
            sheet = compose(frame, ruined(images, rng) if not planned.methods and side == RUIN else images)
            options.append(self._save(sheet, position, "option", place))
        references = list({c.id: c.reference for panel in panels[::-1] for c in panel.characters[::-1]}.values())[::-1]
        characters = [
            self._save(_opened(self._benchmark / path), position, "character", slot)
            for slot, path in enumerate(references[:MOST_CHARACTERS])
        ]
        trial = derived_name(self._secret, "trial", self._number, position)
        return (
            Trial(
                trial=trial,
                options=tuple(options),
                size=(frame.width, frame.height),
                characters=tuple(characters),
                descriptions=tuple(panel.caption for panel in panels),
            ),
            KeyTrial(
                trial=trial, kind=planned.kind, page_id=planned.page, series=panels[0].series, methods=tuple(sides)
            ),
        )

    def _save(self, image: Image.Image, position: int, *what: str | int) -> str:
        name = derived_name(self._secret, "image", self._number, position, *what)
        rng = numpy_stream(self._seed, "study", "pixels", self._number, position, *what)
        (self._folder / "images" / f"{name}.png").write_bytes(anonymous_png(image, rng))
        return name


def _pages(panels: Sequence[BenchmarkPanel]) -> dict[str, list[BenchmarkPanel]]:
    """Panels by page, in reading order; pages of one panel are left out."""
    pages: dict[str, list[BenchmarkPanel]] = {}
    for panel in panels:
        pages.setdefault(panel.page_id, []).append(panel)
    return {
        page: sorted(found, key=lambda panel: panel.panel_index)
        for page, found in sorted(pages.items())
        if len(found) >= LEAST_PANELS
    }


def _check_drawings(pages: Mapping[str, Sequence[BenchmarkPanel]], drawings: Mapping[str, Path]) -> None:
    for method, folder in drawings.items():
        absent = [
            panel.panel_id
            for panels in pages.values()
            for panel in panels
            if not panel.given and not (folder / f"{panel.panel_id}.png").is_file()
        ]
        if absent:
            raise ValueError(
                f"expected an image of every panel in {folder}, {method} lacks {len(absent)}, the first "
                f"{absent[0]}.png; let it draw the benchmark, and give its images/<seed>"
            )


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("L")


def _invitations(raters: Sequence[KeyRater], secret: bytes) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("rater", "packet", "token"))
    for number, rater in enumerate(raters, start=1):
        table.writerow((rater.rater, rater.packet, derived_token(secret, number)))
    return text.getvalue()
