"""Why one input was not accepted: the value that travels from the network and the decoder to the quarantine table."""

from typing import Literal

State = Literal["ok", "missing", "removed", "quarantined"]


class Refusal(Exception):
    """One input is not accepted.

    ``reason`` is a stable word that can be counted (``truncated_image``), ``evidence`` the value that shows it.
    ``state`` is ``removed`` when the page was taken down (404, 410, 451), ``missing`` when nothing came for another
    reason, and ``quarantined`` when what came is wrong.
    ``transient`` faults are worth another try, now or on a rerun.
    """

    def __init__(self, reason: str, evidence: str, *, state: State = "quarantined", transient: bool = False) -> None:
        super().__init__(reason, evidence)
        self.reason = reason
        self.evidence = evidence
        self.state = state
        self.transient = transient
