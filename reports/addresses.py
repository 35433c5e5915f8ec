"""Where things stand in a report: addresses relative to its pages."""

from urllib.parse import quote


def panel_address(panel_id: str) -> str:
    """The record of a panel."""
    return f"panel.html#{quote(panel_id, safe='')}"
