"""The flows by name, and the stages each one asks for; what those need comes along by itself.

Light on purpose: the command line and the bare-name plugin read it before Prefect is imported.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class FlowEntry:
    """A flow that can be run and deployed under its own name."""

    name: str
    function: str
    """``module:function`` of the Prefect flow."""
    targets: tuple[str, ...]
    """Stages to bring up to date, together with everything they depend on; none for a flow outside the pipeline."""
    summary: str
    parameters: tuple[str, ...] = ()
    """Its own, beside preset and overrides."""
    configured: bool = True
    """Whether it takes a preset and overrides."""
    plan: str = ""
    """``module:function`` of configuration, store and the flow's own parameters that tells, line by line, what a flow
    without targets would do."""
    price: str = ""
    """``module:function`` of configuration, store, GPU and utilisation that prices such a flow."""


FLOWS: dict[str, FlowEntry] = {
    entry.name: entry
    for entry in (
        FlowEntry(
            "full-pipeline",
            "flows.full_pipeline:full_pipeline",
            ("report",),
            "data, training, benchmark, release and report, end to end",
        ),
        FlowEntry("ingest", "flows.ingest:ingest", ("panels",), "download, validate and cut the panels"),
        FlowEntry("train", "flows.train:train", ("stage2",), "the three training stages, with the data they need"),
        FlowEntry(
            "baselines",
            "flows.baselines:baselines",
            ("score",),
            "every compared method, trained, drawn and scored",
        ),
        FlowEntry(
            "evaluate",
            "flows.evaluate:evaluate",
            (),
            "checkpoints by benchmarks by metrics: draw and score what is missing",
            ("checkpoints",),
            plan="tasks.missing_cells:plan_evaluation",
        ),
        FlowEntry(
            "drift-check",
            "flows.drift_check:drift_check",
            (),
            "score frozen drawings again; fail where a metric moved",
            ("tolerance",),
        ),
        FlowEntry("release", "flows.release:release", ("report",), "bundle, verify, test at the gate, report, release"),
        FlowEntry(
            "ablations",
            "flows.ablations:ablations",
            (),
            "the paper's Tables 3 and 4, a row at a time",
            plan="tasks.ablations:plan_ablations",
            price="tasks.ablation_prices:price_ablations",
        ),
        FlowEntry(
            "study-prepare",
            "flows.study:study_prepare",
            (),
            "blinded packets for the human study",
            ("benchmark", "methods", "output", "consent"),
        ),
        FlowEntry(
            "study-import",
            "flows.study:study_import",
            (),
            "take in the votes of offline packets",
            ("study", "files"),
            configured=False,
        ),
        FlowEntry(
            "study-analyse",
            "flows.study:study_analyse",
            (),
            "preferences, strengths and agreement from votes",
            ("study", "output"),
            configured=False,
        ),
        FlowEntry(
            "study-simulate",
            "flows.study:study_simulate",
            (),
            "what a study of this size can tell apart",
            ("output", "methods", "pages", "studies"),
        ),
        FlowEntry(
            "reconcile",
            "flows.reconcile:reconcile",
            (),
            "end or take up again what crashed runs and workers left behind",
            configured=False,
        ),
        FlowEntry(
            "foundations",
            "flows.foundations:foundations",
            (),
            "train the embedded frozen models again",
            ("only", "steps_scale"),
            configured=False,
        ),
    )
}


def find_flow(name: str) -> FlowEntry:
    """The flow called ``name``. Raises ValueError listing the known ones."""
    if name not in FLOWS:
        raise ValueError(f"unknown flow {name!r}; known: {', '.join(FLOWS)}")
    return FLOWS[name]
