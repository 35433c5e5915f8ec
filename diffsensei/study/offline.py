"""Packets that work without a server: one HTML file per rater, everything inside, nothing asked of any network."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from diffsensei.study.packets import Packet, packet_digest, read_key, read_packets, read_tokens
from diffsensei.study.server import PAGE

_LINKS = (
    '<link rel="stylesheet" href="/study.css">',
    '<script src="/study.js" defer></script>',
    "</body>",
    '<meta charset="utf-8">',
)


def write_offline_packets(*, study: Path, output: Path) -> list[Path]:
    """``output/<rater>.html`` for every rater of the prepared ``study``; needs its key, for the raters' tokens.

    A file is personal, as it holds its rater's token. Raises ValueError if ``output`` has other files, or a packet is
    not the one that was prepared.
    """
    key, packets, tokens = read_key(study), read_packets(study), read_tokens(study)
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty; give a new folder")
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for rater in key.raters:
        packet = packets.get(rater.packet)
        if packet is None or packet_digest(packet) != rater.digest:
            raise ValueError(
                f"{study}/packets/{rater.packet}: not the packet that was prepared; prepare the study again"
            )
        path = output / f"{rater.rater}.html"
        path.write_text(offline_page(packet, study / "packets" / rater.packet / "images", tokens[rater.packet]))
        written.append(path)
    return written


def offline_page(packet: Packet, images: Path, token: str) -> str:
    """The whole page as HTML. Its policy allows this very script and style, images of its own, and no connection."""
    page, style, script = ((PAGE / name).read_text() for name in ("study.html", "study.css", "study.js"))
    policy = (
        f"default-src 'none'; img-src data:; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    data = {
        "packet": packet.model_dump(mode="json"),
        "digest": packet_digest(packet),
        "signature": token,
        "images": {name: _embedded(images / f"{name}.png") for name in sorted(packet.images())},
    }
    filled = (
        f"<style>{style}</style>",
        "",
        f'<script type="application/json" id="packet">{_json(data)}</script>\n<script>{script}</script>\n</body>',
        f'<meta charset="utf-8">\n  <meta http-equiv="Content-Security-Policy" content="{policy}">',
    )
    for mark, text in zip(_LINKS, filled, strict=True):
        before, found, after = page.partition(mark)
        assert found, mark
        page = before + text + after
    return page


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: Any) -> str:
    """JSON in which nothing ends or opens an element, whatever captions say."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
