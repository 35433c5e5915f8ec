"""The gate on the report's first page: verdict, rules and waivers, whatever texts they hold."""

from html.parser import HTMLParser
from pathlib import Path

from reports.gate import gate_view
from reports.site import build_report
from tests.gate.conftest import gate, make_candidate, rule

EVIL = "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"


class _Text(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))


def test_rules_are_told_in_words(tmp_path: Path) -> None:
    keeps = rule(name="keeps", against={"kind": "previous"}, claim="not_inferior", margin=0.03)
    view = gate_view(make_candidate(tmp_path).certify(gate(rule(), rule(name="far", margin=0.3), keeps)))
    assert view is not None
    assert not view.passed
    assert view.verdict.startswith("not passed: far")
    assert [row.state for row in view.rules] == ["holds", "fails", "nothing to compare with"]
    assert view.rules[0].claim == "dino_c of diffsensei better than sdxl_t2i (alpha 0.05)"
    assert view.rules[1].claim == "dino_c of diffsensei better than sdxl_t2i by more than 0.3 (alpha 0.05)"
    assert (
        view.rules[2].claim == "dino_c of diffsensei not worse than the previous release by more than 0.03 (alpha 0.05)"
    )
    assert "needed more than +0.000" in view.rules[0].figure


def test_a_run_without_a_gate_has_no_such_part(make_run) -> None:  # type: ignore[no-untyped-def]
    run = make_run()
    build_report(**run.arguments)
    assert "Release gate" not in (run.arguments["output"] / "index.html").read_text()
    assert gate_view(None) is None


def test_hostile_reasons_stay_texts(make_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    waiver = {"rule": "far", "version": "0.1.0", "by": EVIL, "reason": EVIL}
    folder = make_candidate(tmp_path / "candidate").certify(gate(rule(name="far", margin=0.3), waivers=[waiver]))
    run = make_run()
    build_report(**run.arguments, gate=folder)
    page = _Text((run.arguments["output"] / "index.html").read_text())
    assert page.text.count(EVIL) >= 2
    assert "Gate passed." in page.text
    own = [[("src", "data/status.js")], []]
    assert [attributes for tag, attributes in page.tags if tag == "script"] == own
    assert not [1 for _, attributes in page.tags for name, _ in attributes if name.startswith("on")]
