"""Studies without people: raters of known taste, to test the analysis and to plan how many real ones are needed.

A rater prefers method m of a set with probability proportional to exp(strength of m), and sees no difference with a
weight of `NO_DIFFERENCE` times the geometric mean (Davidson 1970). Tastes differ: every rater, and every page, shifts
each method's strength by a normal draw of `SPREAD`.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import numpy as np

from diffsensei.config.schema import StudyConfig
from diffsensei.seeding import numpy_stream, stream_seed
from diffsensei.study.ballots import TRUE_PAGE, Ballot
from diffsensei.study.design import PlannedTrial, plan_trials
from diffsensei.study.preference import cluster_weights, pair_cells, strength_contrasts, strength_draws
from diffsensei.study.results import ASPECTS, PowerResult, PowerRow

NO_DIFFERENCE = 0.5
SPREAD = 0.3
RESAMPLES = 200
"""Per simulated study: enough for a yes or no."""
ASSUMPTIONS = (
    f"Luce choices with a no-difference weight of {NO_DIFFERENCE} x the geometric mean of the strengths shown (20% of "
    f"answers between equal methods in pairs); strengths vary by a standard deviation of {SPREAD} between raters and "
    f"as much between pages; one method is better, all others are equal; {RESAMPLES} resamples a study."
)


def simulate_ballots(
    config: StudyConfig, strengths: Mapping[str, float], pages: Sequence[str], seed: int, spread: float = SPREAD
) -> list[Ballot]:
    """All ballots of one study in which everybody finishes; ``strengths`` are log strengths by method."""
    rng = numpy_stream(seed, "study", "simulated raters")
    page_taste = {page: rng.normal(0, spread, len(strengths)) for page in pages}
    planned = plan_trials(config, list(strengths), pages, seed)
    return list(
        chain.from_iterable(
            _rater(f"rater-{number:03d}", trials, strengths, page_taste, spread, rng)
            for number, trials in enumerate(planned, start=1)
        )
    )


def simulate_power(
    config: StudyConfig,
    *,
    num_methods: int,
    num_pages: int,
    preferences: Sequence[float],
    studies: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> PowerResult:
    """How often a study of this size tells a better method from others, by how much better it is.

    ``preferences`` are shares of decided votes in (0.5, 1). ``advance`` is called after each simulated study.
    """
    if not all(0.5 < preference < 1 for preference in preferences):
        raise ValueError(f"expected preferences above 0.5 and below 1, got {list(preferences)}")
    pages = [f"page-{number:03d}" for number in range(num_pages)]
    rows = []
    for preference in preferences:
        gap = float(np.log(preference / (1 - preference)))
        apart = first = 0
        for study in range(studies):
            names = [f"method-{number}" for number in range(num_methods)]
            strengths = dict.fromkeys(names, 0.0) | {names[0]: gap}
            own = stream_seed(seed, "study", "simulation", study)
            ballots = simulate_ballots(config, strengths, pages, own)
            items = [ballot for ballot in ballots if ballot.kind == "item"]
            weights = cluster_weights(items, RESAMPLES, own)
            fitted, drawn = strength_draws(pair_cells(items, names, "overall"), names, weights)
            contrast = strength_contrasts("overall", fitted, drawn, names, config.confidence)[0]
            apart += contrast.told_apart and contrast.difference > 0
            first += int(np.argmax(fitted)) == 0
            advance()
        rows.append(PowerRow(preference=preference, told_apart=apart / studies, best_first=first / studies))
    return PowerResult(
        form=config.form,
        num_methods=num_methods,
        num_raters=config.num_raters,
        items_per_rater=config.items_per_rater,
        raters_per_item=config.raters_per_item,
        num_pages=num_pages,
        confidence=config.confidence,
        studies=studies,
        assumptions=ASSUMPTIONS,
        rows=tuple(rows),
    )


def _rater(
    name: str,
    trials: Sequence[PlannedTrial],
    strengths: Mapping[str, float],
    page_taste: Mapping[str, np.ndarray],
    spread: float,
    rng: np.random.Generator,
) -> list[Ballot]:
    index = {method: i for i, method in enumerate(strengths)}
    own = np.array(list(strengths.values())) + rng.normal(0, spread, len(strengths))
    ballots = []
    for trial in trials:
        if trial.kind == "check":
            shown: tuple[str, ...] = (TRUE_PAGE, "ruin")
            choices: dict[str, int | None] = dict.fromkeys((aspect.name for aspect in ASPECTS), 0)
        else:
            shown = trial.methods
            logs = np.array([own[index[m]] + page_taste[trial.page][index[m]] for m in shown])
            weights = np.append(np.exp(logs), NO_DIFFERENCE * np.exp(logs.mean()))
            drawn = rng.choice(len(weights), size=len(ASPECTS), p=weights / weights.sum())
            choices = {a.name: int(c) if c < len(shown) else None for a, c in zip(ASPECTS, drawn, strict=True)}
        ballots.append(Ballot(name, trial.kind, trial.page, shown, choices, 20.0))
    return ballots
