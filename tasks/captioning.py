"""Captioning as a stage: the library's function, and the key of the server from the job's own environment.

Arguments of a stage are written down beside its result; a key must not be, so it is no argument of this one.
"""

from pathlib import Path

from diffsensei.config.schema import CaptionerConfig, DownloadConfig
from diffsensei.data.annotation import captions
from infra.settings import Settings


def caption_panels(
    *,
    captioner: CaptionerConfig,
    download: DownloadConfig,
    annotations: Path,
    download_dir: Path,
    num_threads: int,
    workspace: Path,
    output: Path,
) -> None:
    """Stage: `captions.caption_panels` with ``DIFFSENSEI_CAPTION_API_KEY``, where it is set, for the server."""
    captions.caption_panels(
        captioner=captioner,
        download=download,
        annotations=annotations,
        download_dir=download_dir,
        num_threads=num_threads,
        workspace=workspace,
        output=output,
        api_key=Settings().caption_api_key,
    )
