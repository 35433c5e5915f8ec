"""What all pages share: style, script, navigation, and a policy that lets only our own script run.

Every text from outside (captions, names, reasons) is escaped by the templates.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from diffsensei.config import ExperimentConfig, config_digest

HERE = Path(__file__).parent


INTERACTIVE = (
    *(
        "dom",
        "data",
        "boxes",
        "picture",
        "scores",
        "zoom",
        "lightbox",
        "panels",
        "record",
        "pages",
        "extremes",
        "start",
    ),
)
"""Scripts of the pages that draw themselves from ``data/*.js``, in order: each rests on those before it."""


class Render(Protocol):
    """Fills one of a report's pages."""

    def __call__(
        self,
        page: str,
        view: dict[str, Any],
        *,
        template: str = "",
        root: str = "",
        galleries: str = "",
        interactive: bool = False,
    ) -> str:
        """HTML of ``template`` (that of ``page`` by default) with ``view``.

        ``page`` is marked in the navigation; ``root`` leads from the page to the report's folder, ``galleries`` to that
        of the evaluation set's; ``interactive`` pages draw themselves from the latter's ``data/*.js``.
        """


def page_renderer(
    config: ExperimentConfig, pages: Sequence[tuple[str, str]], of_set: Sequence[tuple[str, str]] = ()
) -> Render:
    """A `Render` for ``pages`` (file name and label, in the order of the navigation).

    ``of_set``: those that every evaluation set has for itself; the navigation stays within a set.
    """
    static = HERE / "static"
    style = (static / "site.css").read_text(encoding="utf-8")
    gallery_style = (static / "gallery.css").read_text(encoding="utf-8")
    plain_script = (static / "site.js").read_text(encoding="utf-8")
    status_script = (static / "status.js").read_text(encoding="utf-8")
    gallery_script = "\n".join((static / "gallery" / f"{name}.js").read_text("utf-8") for name in INTERACTIVE)
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )

    def render(
        page: str,
        view: dict[str, Any],
        *,
        template: str = "",
        root: str = "",
        galleries: str = "",
        interactive: bool = False,
    ) -> str:
        script = status_script + (gallery_script if interactive else plain_script)
        allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        # Data files are scripts. A page in a folder has no origin that 'self' could name, hence file: beside it.
        policy = (
            "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{allowed}' 'self' file:; base-uri 'none'; form-action 'none'"
        )
        # Our own files, read from this package.
        own = {"style": Markup(style + gallery_style), "script": Markup(script)}
        return templates.get_template(template or f"{page}.j2").render(
            page=page,
            pages=pages,
            policy=policy,
            root=root,
            galleries=galleries,
            of_set=[address for address, _ in of_set],
            images=config.report.images,
            digest=config_digest(config),
            release=config.release,
            **own,
            **view,
        )

    return render
