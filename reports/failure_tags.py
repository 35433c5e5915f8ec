"""What went wrong with a drawing, in words, by rules over its single measurements.

A tag is given only where the true panel, judged in the same way, does not earn it: what the judges cannot see in the
truth is no fault of a method. A measurement that is missing earns no tag.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffsensei.evaluation.character_layout import LAYOUT_IOU
from diffsensei.evaluation.clip_score import CLIP
from diffsensei.evaluation.dialog_f1 import DIALOG_F1
from diffsensei.evaluation.dino_similarity import DINO_C
from diffsensei.evaluation.identity_accuracy import IDENTITY
from diffsensei.evaluation.results import GROUND_TRUTH, SHUFFLED_TRUTH, Summary
from reports.panel_scores import Entry, PanelScores

MIN_CHARACTER_IOU = 0.1
"""Below this a character does not stand where it was asked for at all."""


@dataclass(frozen=True)
class FailureTag:
    """A kind of failure, its rule with the thresholds of this run, and why it cannot be decided here ("" if it can)."""

    name: str
    label: str
    rule: str
    undecided: str = ""


@dataclass(frozen=True)
class TagRules:
    """The rules with the thresholds of one run."""

    floors: dict[str, float]
    """What another panel of the same series scores on average, by metric."""
    sees_characters: bool
    """Whether a detector of characters looked at the panels."""

    def tags(self, drawn: PanelScores, truth: PanelScores, ids: Sequence[str]) -> list[str]:
        """Names of the tags that ``drawn`` earns; ``ids``: the requested characters, in order."""
        found = []
        if self._misses_character(drawn, truth):
            found.append("missing_character")
        if _newly(drawn, truth, IDENTITY.name, 1.0):
            found.append("merged_identities" if len(set(ids)) > 1 else "wrong_identity")
        found += _dialog_tags(drawn, truth)
        floor = self.floors.get(CLIP.name)
        if floor is not None and _newly(drawn, truth, CLIP.name, floor):
            found.append("off_caption")
        return found

    def _misses_character(self, drawn: PanelScores, truth: PanelScores) -> bool:
        if self.sees_characters:
            return _newly(drawn, truth, LAYOUT_IOU.name, MIN_CHARACTER_IOU)
        floor = self.floors.get(DINO_C.name)
        return floor is not None and _newly(drawn, truth, DINO_C.name, floor)

    def described(self) -> list[FailureTag]:
        """All tags, in the order they are shown in."""
        clip, dino = self.floors.get(CLIP.name), self.floors.get(DINO_C.name)
        if self.sees_characters:
            missing = (
                f"the detected character paired with a requested one covers it with an IoU under {MIN_CHARACTER_IOU:g}"
            )
        elif dino is not None:
            missing = (
                f"the crop at a character's box is no more like the true crop (DINO-C under {dino:.3f}) than another "
                "panel of the series is on average; no detector of characters looked at this run"
            )
        else:
            missing = "needs a detector of characters, or the floor of DINO-C"
        lacking = "" if self.sees_characters or dino is not None else "neither was computed"
        return [
            FailureTag("missing_character", "missing character", missing, lacking),
            FailureTag(
                "merged_identities",
                "merged identities",
                "two characters or more were asked for, and one that was drawn looks most like another of its page "
                "(identity accuracy 0)",
            ),
            FailureTag(
                "wrong_identity",
                "wrong identity",
                "one character was asked for, and the drawn one looks most like another of its page (identity "
                "accuracy 0)",
            ),
            FailureTag(
                "bubble_missing",
                "bubble missing",
                "more requested dialogs were not found than dialogs were found that nobody asked for",
            ),
            FailureTag(
                "extra_bubble",
                "extra bubble",
                "more dialogs were found that nobody asked for than requested ones were not found",
            ),
            FailureTag(
                "bubble_misplaced",
                "bubble misplaced",
                "a requested dialog was not found where it was asked for, and one was found elsewhere",
            ),
            FailureTag(
                "off_caption",
                "off-caption",
                "needs the floor of CLIP"
                if clip is None
                else f"CLIP is under {clip:.3f}, which is what another panel of the same series gets on average",
                "" if clip is not None else "it was not computed",
            ),
        ]


def tag_rules(summary: Summary) -> TagRules:
    """The rules with the floor's figures of ``summary``."""
    floors = {
        metric: row.value
        for metric in (CLIP.name, DINO_C.name)
        if (row := summary.result(SHUFFLED_TRUTH, metric)) is not None and row.value is not None
    }
    seen = summary.result(GROUND_TRUTH, LAYOUT_IOU.name)
    return TagRules(floors, seen is not None and seen.value is not None)


def _newly(drawn: PanelScores, truth: PanelScores, metric: str, least: float) -> bool:
    """Whether a measurement is below ``least`` whose counterpart in the truth is not."""

    def below(entry: Entry) -> bool:
        return isinstance(entry, float) and entry < least

    ours, theirs = drawn.entries.get(metric, []), truth.entries.get(metric, [])
    if len(ours) != len(theirs):
        return False
    return any(
        below(mine) and isinstance(its, float) and not below(its) for mine, its in zip(ours, theirs, strict=True)
    )


def _dialog_tags(drawn: PanelScores, truth: PanelScores) -> list[str]:
    if drawn.dialogs is None or truth.dialogs is None or DIALOG_F1.name not in drawn.entries:
        return []
    extra = max(drawn.dialogs[1] - truth.dialogs[1], 0)
    missing = max(drawn.dialogs[2] - truth.dialogs[2], 0)
    found = ["bubble_missing"] if missing > extra else ["extra_bubble"] if extra > missing else []
    return found + (["bubble_misplaced"] if min(extra, missing) else [])
