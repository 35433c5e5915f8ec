"""Why one input was not accepted: the value that travels from the network and the decoder to the quarantine table."""

from typing import Literal

State = Literal["ok", "missing", "quarantined"]


class Refusal(Exception):
    """One input is not accepted.

    ``reason`` is a stable word that can be counted (``truncated_image``), ``evidence`` the value that shows it.
    ``state`` is ``missing`` when nothing came (a dead url) and ``quarantined`` when what came is wrong.
    ``transient`` faults are worth another try, now or on a rerun.
    """

    def __init__(self, reason: str, evidence: str, *, state: State = "quarantined", transient: bool = False) -> None:
        super().__init__(reason, evidence)
        self.reason = reason
        self.evidence = evidence
        self.state = state
        self.transient = transient
