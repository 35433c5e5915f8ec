"""Which stage goes first: the one on which the longest way to the end hangs."""

from infra.stage import Resources, Stage
from tasks.stage_graph import chain_lengths


def _stage(name: str, *inputs: str, exclusive: bool = True) -> Stage:
    sources = {source: source for source in inputs}
    return Stage(name=name, version=1, entry="module:made", inputs=sources, resources=Resources(exclusive=exclusive))


def test_only_exclusive_stages_make_a_way_longer() -> None:
    stages = [
        _stage("data", exclusive=False),
        _stage("short", "data"),
        _stage("long", "data"),
        _stage("longer", "long", "data"),
        _stage("table", "short", "longer", exclusive=False),
        _stage("report", "table"),
    ]
    lengths = chain_lengths({stage.name: stage for stage in stages})
    assert lengths == {"data": 3, "short": 2, "long": 3, "longer": 2, "table": 1, "report": 1}
