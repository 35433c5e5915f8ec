"""Where things stand in a report: addresses relative to its pages."""

from urllib.parse import quote


def panel_address(panel_id: str, galleries: str = "") -> str:
    """The record of a panel; ``galleries``: the folder of its evaluation set's (`EvaluationSet.galleries`)."""
    return f"{galleries}panel.html#{quote(panel_id, safe='')}"
