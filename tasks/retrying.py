"""Failed downloads that a person wants tried again."""

from collections.abc import Sequence

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import MangaZeroSource
from diffsensei.data.download.retries import retry_reasons
from tasks.stages.data import library_folder


def retry_downloads(config: ExperimentConfig, reasons: Sequence[str]) -> dict[str, int]:
    """Urls that the next run tries again, by reason. Raises ValueError where nothing is downloaded from outside."""
    source = config.data.source
    if not isinstance(source, MangaZeroSource):
        raise ValueError(f"data.source.kind is {source.kind}: only pages of mangazero are downloaded and tried again")
    return retry_reasons(library_folder(), reasons)
