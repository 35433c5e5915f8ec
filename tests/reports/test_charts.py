import re
import xml.etree.ElementTree as ET

from reports.charts import Curve, Dot, dot_chart, line_chart

DOTS = [Dot("Oracle", 0.9, 0.85, 0.95, 0, True), Dot("Ours & <theirs> $x_1$", 0.4, 0.3, 0.5, 2, False)]


def test_charts_are_well_formed_and_take_the_pages_colours():
    for chart in (
        dot_chart(DOTS, name="a", title="a < b"),
        line_chart([Curve("loss", [(1, 2.0), (2, 1.0)], 1), Curve("lm", [(1, 0.2), (2, 0.1)], 2)], name="b", title="t"),
    ):
        ET.fromstring(str(chart))
        assert "var(--" in chart
        colours = set(re.findall(r"#[0-9a-fA-F]{6}\b", str(chart)))
        assert not {c for c in colours if c.startswith("#0102")}
        assert "<style" not in chart
        assert "font-family" not in chart


def test_labels_stay_as_they_are():
    chart = dot_chart(DOTS, name="a", title="a < b")
    texts = ["".join(node.itertext()) for node in ET.fromstring(str(chart)).iter("{http://www.w3.org/2000/svg}text")]
    assert "Ours & <theirs> $x_1$" in texts
    assert "<title>a &lt; b</title>" in chart


def test_ids_do_not_clash_between_charts_of_a_page():
    charts = [str(dot_chart(DOTS, name=name, title="t")) for name in ("one", "two")]
    ids = [set(re.findall(r'id="([^"]+)"', chart)) for chart in charts]
    assert ids[0]
    assert not ids[0] & ids[1]
    for chart, own in zip(charts, ids, strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', chart)) <= own


def test_the_same_figures_give_the_same_bytes():
    assert dot_chart(DOTS, name="a", title="t") == dot_chart(DOTS, name="a", title="t")


def test_an_interval_is_drawn_as_long_as_it_is():
    chart = str(
        dot_chart([Dot("a", 0.5, 0.0, 1.0, 1, False), Dot("b", 0.5, 0.25, 0.75, 2, False)], name="n", title="t")
    )
    lengths = {}
    for series in (2, 3):
        path = re.search(
            rf'<path d="M ([\d.]+) [\d.]+ \nL ([\d.]+) [^"]*"[^>]*stroke: var\(--series-{series}\); stroke-width: 2',
            chart,
        )
        lengths[series] = float(path[2]) - float(path[1])
    assert abs(lengths[2] / lengths[3] - 2) < 0.01
