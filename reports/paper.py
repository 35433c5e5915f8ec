"""The numbers the DiffSensei paper prints, as data. For reading beside ours, not for comparing with them.

Not comparable, because: the paper's evaluation pages were never published; it names neither the CLIP nor the DINO
variant; and its FID (0.407 to 0.414 for methods of very different quality) has a definition that is not given and
that no standard FID of about a thousand panels reproduces.
"""

from dataclasses import dataclass

FID_CAVEAT = "definition unknown, not comparable"
METRICS = ("fid", "clip", "dino_i", "dino_c", "dialog_f1")
"""The paper's columns, by our names."""


@dataclass(frozen=True)
class PaperRow:
    """One printed row. ``values`` follow `METRICS`."""

    label: str
    values: tuple[float, float, float, float, float]
    note: str = ""

    def value(self, metric: str) -> float | None:
        """The printed figure of one of our metrics, or None where the paper has none."""
        return self.values[METRICS.index(metric)] if metric in METRICS else None


@dataclass(frozen=True)
class PaperTable:
    """One printed table and where it stands."""

    title: str
    reference: str
    rows: tuple[PaperRow, ...]


STAR = "marked * in the paper; its low F1 says that it sees no dialog boxes"
DAGGER = "marked with a dagger in the paper; its F1 says that dialog boxes were added to it"

MANGAZERO = PaperTable(
    "MangaZero evaluation set",
    "Table 2(a)",
    (
        PaperRow("AR-LDM", (0.409, 0.257, 0.548, 0.507, 0.004), STAR),
        PaperRow("StoryGen", (0.411, 0.219, 0.536, 0.488, 0.012), STAR),
        PaperRow("SEED-Story", (0.411, 0.169, 0.416, 0.405, 0.006), STAR),
        PaperRow("StoryDiffusion", (0.409, 0.244, 0.461, 0.362, 0.002), STAR),
        PaperRow("MS-Diffusion", (0.408, 0.229, 0.610, 0.641, 0.720), DAGGER),
        PaperRow("DiffSensei", (0.407, 0.235, 0.618, 0.651, 0.727)),
    ),
)
MANGA109 = PaperTable(
    "Manga109 evaluation set",
    "Table 2(b)",
    (
        PaperRow("AR-LDM", (0.410, 0.254, 0.527, 0.491, 0.005), STAR),
        PaperRow("StoryGen", (0.414, 0.214, 0.540, 0.493, 0.004), STAR),
        PaperRow("SEED-Story", (0.413, 0.167, 0.442, 0.428, 0.005), STAR),
        PaperRow("StoryDiffusion", (0.410, 0.238, 0.442, 0.355, 0.001), STAR),
        PaperRow("MS-Diffusion", (0.410, 0.227, 0.584, 0.600, 0.601), DAGGER),
        PaperRow("DiffSensei", (0.410, 0.237, 0.588, 0.600, 0.648)),
    ),
)
ABLATION = PaperTable(
    "Parts of DiffSensei",
    "Table 3",
    (
        PaperRow("no mask", (0.410, 0.230, 0.593, 0.610, 0.361)),
        PaperRow("character mask", (0.411, 0.225, 0.591, 0.637, 0.364)),
        PaperRow("+ dialog mask", (0.407, 0.228, 0.600, 0.635, 0.653)),
        PaperRow("+ Magi encoder, no MLLM", (0.408, 0.231, 0.618, 0.648, 0.718)),
        PaperRow("+ MLLM adapter", (0.407, 0.235, 0.618, 0.651, 0.727)),
    ),
)
RATES = PaperTable(
    "Rate of character images taken from the target panel",
    "Table 4(a)",
    (
        PaperRow("0.0", (0.408, 0.233, 0.615, 0.646, 0.718)),
        PaperRow("0.5", (0.407, 0.235, 0.618, 0.651, 0.727)),
        PaperRow("1.0", (0.407, 0.233, 0.610, 0.644, 0.729)),
    ),
)
BLENDS = PaperTable(
    "Weight of the MLLM's character tokens",
    "Table 4(b)",
    (
        PaperRow("0.0", (0.408, 0.231, 0.618, 0.648, 0.718)),
        PaperRow("0.2", (0.407, 0.231, 0.620, 0.653, 0.722)),
        PaperRow("0.4", (0.407, 0.235, 0.618, 0.651, 0.727)),
        PaperRow("0.6", (0.406, 0.237, 0.608, 0.637, 0.728)),
        PaperRow("0.8", (0.407, 0.237, 0.604, 0.629, 0.727)),
        PaperRow("1.0", (0.407, 0.236, 0.601, 0.618, 0.731)),
    ),
)

TABLES = (MANGAZERO, MANGA109, ABLATION, RATES, BLENDS)
ABLATIONS = {"table_3": ABLATION, "table_4a": RATES, "table_4b": BLENDS}
"""By the names that `diffsensei.evaluation.ablations` gives the tables."""

SYSTEMS = ("ar_ldm", "storygen", "seed_story", "storydiffusion", "ms_diffusion_dialogs", "diffsensei")
"""Our names of the rows of Table 2, in its order."""

Counterparts = dict[str, tuple[PaperRow, str]]
"""Our method -> the paper's row of the same system and where it stands. Text-to-image alone has no row there."""


def _rows(table: PaperTable) -> Counterparts:
    return {name: (row, table.reference) for name, row in zip(SYSTEMS, table.rows, strict=True)}


COUNTERPARTS: Counterparts = _rows(MANGAZERO) | {"diffsensei_stage1": (ABLATION.rows[3], ABLATION.reference)}
"""On the paper's MangaZero pages."""
MANGA109_COUNTERPARTS: Counterparts = _rows(MANGA109)
"""On its Manga109 pages, where the paper has no row without the MLLM."""
