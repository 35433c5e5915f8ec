"""What is left of each series: pages by state, panels, and the shares that tell a source of trouble."""

from typing import Any

import pandas as pd

from diffsensei.data.validation.checks import MAX_CHROMA, MAX_MISORDERED
from diffsensei.data.validation.quarantine import STATES


def series_counts(
    facts: pd.DataFrame, pages: pd.DataFrame, panels: pd.DataFrame, quarantine: pd.DataFrame
) -> list[dict[str, Any]]:
    """One row per series, by name (entries without a readable path are series ""): pages given and by state, accepted
    panels, accepted pages listed against the reading order, and (where images were looked at) in colour.
    """
    of_pages = quarantine[quarantine["level"] == "page"]
    states = facts.set_index("entry")["series"].reindex(of_pages["entry"]).to_frame()
    states["state"] = of_pages["state"].to_numpy()
    by_state = states.groupby(["series", "state"]).size()
    num_panels = panels["page_id"].map(pages.set_index("page_id")["series"]).value_counts()
    misordered = (pages["misordered_share"].astype(float) > MAX_MISORDERED).groupby(pages["series"]).sum()
    colour = (pages["chroma"].astype(float) > MAX_CHROMA).groupby(pages["series"]).sum() if "chroma" in pages else None
    accepted = pages["series"].value_counts()
    return [
        {
            "series": name,
            "input": int(count),
            "ok": int(accepted.get(name, 0)),
            **{state: int(by_state.get((name, state), 0)) for state in STATES},
            "panels": int(num_panels.get(name, 0)),
            "misordered": int(misordered.get(name, 0)),
            "colour": None if colour is None else int(colour.get(name, 0)),
        }
        for name, count in sorted(facts["series"].value_counts().items())
    ]
