"""The human study's page: figures, states, and hostile names."""

import json

from diffsensei.study.results import read_study
from reports.site import build_report
from reports.study import study_view
from tests.reports.conftest import METHODS_COMPARED, build_study
from tests.reports.test_site import EVIL, OWN_SCRIPTS, _read


def test_shares_matrix_and_agreement_are_those_of_the_result(tmp_path):
    view = study_view(build_study(tmp_path / "study"))
    result = read_study(tmp_path / "study")
    assert [aspect.aspect.name for aspect in view.aspects][-1] == "overall"
    overall = view.aspects[-1]
    share = next(row for row in result.kept.shares if (row.aspect, row.method) == ("overall", "ours"))
    assert overall.lines[0].share == f"{100 * share.share:.0f} %"
    assert (overall.lines[0].wins, overall.lines[0].shown) == (share.wins, share.shown)
    wins = {(row.method, row.other): row.wins for row in result.kept.wins if row.aspect == "overall"}
    for i, method in enumerate(METHODS_COMPARED):
        assert overall.matrix[i][1][i] is None
        for j, other in enumerate(METHODS_COMPARED):
            if i != j:
                assert overall.matrix[i][1][j].text == str(wins[method, other])
    assert view.excluded[0].excluded == "median time 1.2 s per set"
    assert view.chance == "50 %"


def test_the_page_names_everything(site):
    text = " ".join(_read(site)["study.html"].text.split())
    for said in ("Not finished.", "left out", "median time 1.2 s", "Who beat whom", "Krippendorff", "told apart"):
        assert said in text, said
    assert "2 simulated studies for each row: 6 raters" in text


def test_absent_and_empty_are_states(make_run, tmp_path):
    run = make_run()
    build_report(**run.arguments)
    pages = _read(run.arguments["output"])
    assert "No study is shown with this run." in pages["study.html"].text
    assert "Not run for this configuration." in pages["ablations.html"].text
    command = "diffsensei run ablations --preset tiny --set training.stage2.steps=200"
    assert command in " ".join(pages["ablations.html"].text.split())

    folder = build_study(tmp_path / "study")
    (folder / "power.json").unlink()
    result = json.loads((folder / "study.json").read_text())
    empty = {"raters": 0, "votes": 0, "position": {"shares": [], "p_value": None}}
    empty |= {name: [] for name in ("shares", "strengths", "contrasts", "wins", "agreement")}
    result |= {"state": "no votes", "kept": empty, "everyone": empty}
    (folder / "study.json").write_text(json.dumps(result))
    build_report(**run.arguments, study=folder)
    text = _read(run.arguments["output"])["study.html"].text
    assert "Nobody has answered a set yet." in text
    assert "Not simulated" in text


def test_hostile_method_names_stay_texts(make_run, tmp_path):
    run = make_run()
    folder = build_study(tmp_path / "study", methods=(EVIL, "b$x$", "<b>c</b>"))
    build_report(**run.arguments, study=folder)
    page = _read(run.arguments["output"])["study.html"]
    assert [attributes for tag, attributes in page.tags if tag == "script"] == OWN_SCRIPTS
    assert not [1 for tag, attributes in page.tags if tag == "img" or any(key.startswith("on") for key in attributes)]
    assert page.text.count(EVIL) >= 10
    assert any(EVIL in (attributes.get("title") or "") for tag, attributes in page.tags if tag == "td")
