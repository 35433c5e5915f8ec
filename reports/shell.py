"""What all pages share: style, script, navigation, and a policy that lets only our own script run.

Every text from outside (captions, names, reasons) is escaped by the templates.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from diffsensei.config import ExperimentConfig, config_digest

HERE = Path(__file__).parent


def page_renderer(config: ExperimentConfig, pages: Sequence[tuple[str, str]]) -> Callable[[str, dict[str, Any]], str]:
    """``render(page, view)`` -> HTML of one of ``pages`` (file name and label, in the order of the navigation)."""
    style = (HERE / "static" / "site.css").read_text(encoding="utf-8")
    script = (HERE / "static" / "site.js").read_text(encoding="utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; "
        "base-uri 'none'; form-action 'none'"
    )
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )

    def render(page: str, view: dict[str, Any]) -> str:
        # Our own two files, read from this package.
        own = {"style": Markup(style), "script": Markup(script)}
        return templates.get_template(f"{page}.j2").render(
            page=page, pages=pages, policy=policy, digest=config_digest(config), release=config.release, **own, **view
        )

    return render
