"""What is written while stages run."""

import io

from rich.console import Console

from tasks.terminal import LiveView, PlainView, clock, describe_progress

HALF_WAY = {"label": "stage 1", "done": 350, "total": 700, "unit": "steps", "eta_s": 61.0, "figures": {"loss": 0.12345}}


def test_plain_lines_say_what_how_far_and_how_long() -> None:
    out = io.StringIO()
    view = PlainView(Console(file=out, width=200), every_s=0.0)
    view.started("stage1")
    view.progressed("stage1", HALF_WAY)
    view.finished("stage1", "done", 83.4)
    view.finished("panels", "reused", 0.0)
    started, half, done, reused = out.getvalue().splitlines()
    assert started.endswith("started")
    assert half.split("stage1 ", 1)[1].split() == [
        "50%",
        "stage",
        "1",
        "350/700",
        "steps",
        "loss",
        "0.1235",
        "eta",
        "1:01",
    ]
    assert done.endswith("done in 1:23")
    assert reused.split()[1:] == ["panels", "reused"]


def test_plain_lines_keep_their_distance() -> None:
    out = io.StringIO()
    view = PlainView(Console(file=out, width=200), every_s=1000.0)
    view.started("stage1")
    for _ in range(50):
        view.progressed("stage1", HALF_WAY)
    assert len(out.getvalue().splitlines()) == 1


def test_live_view_keeps_a_bar_for_what_runs_and_a_line_for_what_ended() -> None:
    out = io.StringIO()
    with LiveView(Console(file=out, width=120, height=10, force_terminal=True)) as view:
        for number in range(40):
            view.started(f"short{number}")
            view.finished(f"short{number}", "done", 1.0)
        view.started("stage1")
        view.progressed("stage1", HALF_WAY)
        view.finished("panels", "reused", 0.0)
    assert all(f"short{number} " in out.getvalue() for number in range(40))
    last_frame = out.getvalue().rsplit("panels", 1)[1]
    assert "350/700 steps" in last_frame
    assert "short" not in last_frame


def test_clock_and_unknown_totals() -> None:
    assert [clock(s) for s in (0.4, 61, 3661)] == ["0:00", "1:01", "1:01:01"]
    assert (
        describe_progress({"label": "pages", "done": 3, "total": 0, "unit": "pages", "figures": {}})
        == "pages  3/0 pages"
    )
