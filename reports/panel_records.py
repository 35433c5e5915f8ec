"""The record of each panel: what was asked, what every method drew, and what that scored; as JSON for the pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsensei.evaluation.results import GROUND_TRUTH, MethodInfo, MetricDefinition
from diffsensei.seeding import stream_seed
from reports.failure_tags import TagRules
from reports.panel_scores import NOTHING, PanelScores, Scores, rounded
from reports.pictures import Stored
from reports.requested_panels import Box, RequestedPanel, drawn_picture, reference_picture, truth_picture


@dataclass(frozen=True)
class Drawings:
    """Everything that records are made of."""

    benchmark: Path
    generated: Mapping[str, Path]
    """Method to the folder that it drew into."""
    methods: Sequence[MethodInfo]
    """The true panels, then the methods, in the table's order."""
    metrics: Sequence[MetricDefinition]
    seeds: Sequence[int]
    scores: Scores
    rules: TagRules

    def seeds_of(self, method: str) -> Sequence[int]:
        """Evaluation seeds that ``method`` drew with; the truth is drawn with none."""
        return self.seeds[:1] if method == GROUND_TRUTH else self.seeds

    def picture(self, panel: RequestedPanel, method: str, seed: int) -> Path:
        """Where the drawing lies, if there is one."""
        if method == GROUND_TRUTH:
            return truth_picture(self.benchmark, panel)
        return drawn_picture(self.generated[method], seed, panel)

    def pictures(self, panel: RequestedPanel) -> list[Path]:
        """All pictures of a panel: true, drawn, and references."""
        drawn = [self.picture(panel, info.name, seed) for info in self.methods for seed in self.seeds_of(info.name)]
        return drawn + [reference_picture(self.benchmark, character) for character in panel.characters]

    def scored(self, panel: RequestedPanel, method: str, seed: int) -> PanelScores:
        """What the drawing scored; empty for what was not judged."""
        return self.scores.get((method, seed, panel.panel_id), NOTHING)

    def tags(self, panel: RequestedPanel, method: str, seed: int) -> list[str]:
        """The failure tags of a drawing; the true panels have none."""
        if method == GROUND_TRUTH or panel.given:
            return []
        truth = self.scored(panel, GROUND_TRUTH, self.seeds[0])
        ids = [character.id for character in panel.characters]
        return self.rules.tags(self.scored(panel, method, seed), truth, ids)


def panel_record(panel: RequestedPanel, drawings: Drawings, stored: Mapping[Path, Stored]) -> dict[str, Any]:
    """What the page of a panel shows. Methods stand in the order of `Drawings.methods`, metrics in theirs."""
    return {
        "id": panel.panel_id,
        "page": panel.page_id,
        "series": panel.series,
        "n": panel.panel_index,
        "size": [panel.width, panel.height],
        "caption": panel.caption,
        "seed": str(panel.seed),
        "noise": {str(seed): str(stream_seed(seed, "panel", panel.seed)) for seed in drawings.seeds},
        "given": bool(panel.given),
        "characters": [
            {
                "id": character.id,
                "box": _short(character.box),
                "picture": stored_json(stored.get(reference_picture(drawings.benchmark, character))),
                "kind": character.source_kind,
                "source": character.source,
            }
            for character in panel.characters
        ],
        "dialogs": [_short(box) for box in panel.dialogs],
        "unfed": [_short(box) for box in panel.unfed_dialogs],
        "drawn": [
            [_drawn(panel, info.name, seed, drawings, stored) for seed in drawings.seeds_of(info.name)]
            for info in drawings.methods
        ],
    }


def index_entry(panel: RequestedPanel, drawings: Drawings, series: int, part: int) -> list[Any]:
    """What lists of panels need to filter and to sort, of the first seed: id, number of the series and of its part that
    holds the record, page, place on the page, given, size, then for each method its values, tags and whether it drew.
    """
    seed = drawings.seeds[0]
    places = {tag.name: index for index, tag in enumerate(drawings.rules.described())}
    versions = []
    for info in drawings.methods:
        scores = drawings.scored(panel, info.name, seed)
        values = [scores.value(metric.name) for metric in drawings.metrics]
        versions.append(
            [
                [None if value is None else round(value, 4) for value in values],
                [places[tag] for tag in drawings.tags(panel, info.name, seed)],
                int(drawings.picture(panel, info.name, seed).is_file()),
            ]
        )
    size = [panel.width, panel.height]
    return [panel.panel_id, series, part, panel.page_id, panel.panel_index, int(bool(panel.given)), size, versions]


def _drawn(
    panel: RequestedPanel, method: str, seed: int, drawings: Drawings, stored: Mapping[Path, Stored]
) -> dict[str, Any]:
    scores = drawings.scored(panel, method, seed)
    path = drawings.picture(panel, method, seed)
    return {
        "seed": seed,
        "there": path.is_file(),
        "picture": stored_json(stored.get(path)),
        "scores": [rounded(scores.entries.get(metric.name, ())) for metric in drawings.metrics],
        "dialogs": scores.dialogs,
        "ladder": {iou: rounded([entry]) for iou, entry in sorted(scores.ladder.items())},
        "tags": drawings.tags(panel, method, seed),
    }


def stored_json(stored: Stored | None) -> list[Any] | None:
    """A picture as the pages read it; None where there is none."""
    return None if stored is None else [stored.name, stored.width, stored.height, stored.kind]


def _short(box: Box) -> list[float]:
    return [round(value, 4) for value in box]
