"""What the pages above the versions share: the list of versions, and comparisons of two."""

import base64
import hashlib
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.shell import HERE


def render_site_page(template: str, view: dict[str, Any], *, root: str = "") -> str:
    """HTML of ``template``; ``root`` leads from the page to the site's folder. Texts in ``view`` are escaped."""
    style = (HERE / "static" / "site.css").read_text(encoding="utf-8")
    script = (HERE / "static" / "versions.js").read_text(encoding="utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; "
        "base-uri 'none'; form-action 'none'"
    )
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    own = {"style": Markup(style), "script": Markup(script), "policy": policy, "root": root}
    return templates.get_template(template).render(**own, **view)
