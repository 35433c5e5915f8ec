import json

from diffsensei.progress import Progress


def test_what_a_waiting_reader_sees(tmp_path):
    path = tmp_path / "progress.json"
    progress = Progress(path, "stage1", total=4, unit="steps", start=1)
    assert json.loads(path.read_text())["done"] == 1
    assert json.loads(path.read_text())["eta_s"] is None
    progress.advance(3, loss=0.5)
    state = json.loads(path.read_text())
    assert (state["done"], state["total"], state["figures"], state["eta_s"]) == (4, 4, {"loss": 0.5}, 0.0)
    assert [file.name for file in tmp_path.iterdir()] == ["progress.json"]


def test_track_counts_what_was_handled(tmp_path):
    path = tmp_path / "progress.json"
    assert list(Progress(path, "pages", total=3).track("abc")) == ["a", "b", "c"]
    assert json.loads(path.read_text())["done"] == 3
