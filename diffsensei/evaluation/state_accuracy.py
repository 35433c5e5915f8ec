"""State accuracy: is the drawn character in the state that was asked for (drawn worlds only)?

Captions of a drawn world name each character's expression, pose, facing and distance, and the world knows them. A
probe trained on other worlds reads them off the drawn crop; right or wrong is counted per attribute. The mean counts
only the attributes that the probe reads well on true crops: what it cannot see there tells nothing of a method. An
expression is not asked of a character that is seen from behind. The ground truth's row is the ceiling (the probe's own
errors), the shuffled truth's the floor. As the identity does not enter, it complements DINO-C: a method that
copies its reference keeps the identity and misses the state.
"""

from collections.abc import Mapping

from diffsensei.data.synthetic.cast import FACINGS
from diffsensei.evaluation.results import MetricDefinition
from diffsensei.foundations.labels import READ_STATES

READABLE = 0.8
"""Least share of true held-out crops on which the probe must be right about an attribute that enters the mean."""

STATE_ACCURACY = MetricDefinition(
    name="state_accuracy",
    label="State accuracy",
    definition="share of a drawn character's readable attributes that a probe reads off its crop as they were asked "
    "for, mean over characters",
    unit="share, 0 to 1",
    higher_is_better=True,
    source="ours",
    group="manga",
)
STATE_PARTS = {
    name: MetricDefinition(
        name=f"state_{name}",
        label=f"State: {name}",
        definition=f"share of drawn characters whose {name} a probe reads off the crop as it was asked for",
        unit="share, 0 to 1",
        higher_is_better=True,
        source="ours",
        group="manga",
    )
    for name in READ_STATES
}
"""Attribute -> the metric of it alone."""

NOT_DRAWN = "not a drawn world: states of characters are not known"
UNKNOWN = "state not known"
FROM_BEHIND = "seen from behind"
NOTHING_READABLE = "no attribute that the probe reads well"


def readable(held_out_accuracy: Mapping[str, float]) -> tuple[str, ...]:
    """The attributes that enter the mean, from what the probe gets right on true crops."""
    return tuple(name for name in READ_STATES if held_out_accuracy.get(name, 0.0) >= READABLE)


def hits(read: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, float | None]:
    """1.0 or 0.0 per attribute; None for the expression of a character that was wanted from behind."""
    return {
        name: None if name == "expression" and wanted["facing"] == FACINGS[-1] else float(read[name] == wanted[name])
        for name in READ_STATES
    }


def mean_hit(found: Mapping[str, float | None], counted: tuple[str, ...]) -> float | None:
    """Mean over the ``counted`` attributes that have a value; None where none has."""
    values = [value for name in counted if (value := found[name]) is not None]
    return sum(values) / len(values) if values else None
