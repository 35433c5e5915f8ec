from reports.paper import ABLATION, COUNTERPARTS, MANGA109, MANGAZERO, METRICS


def test_the_headline_row_is_the_papers():
    row, reference = COUNTERPARTS["diffsensei"]
    assert dict(zip(METRICS, row.values, strict=True)) == {
        "fid": 0.407,
        "clip": 0.235,
        "dino_i": 0.618,
        "dino_c": 0.651,
        "dialog_f1": 0.727,
    }
    assert reference == "Table 2(a)"


def test_the_ablations_last_row_is_the_headline_row():
    assert ABLATION.rows[-1].values == MANGAZERO.rows[-1].values


def test_no_row_is_worse_than_the_papers_own_method_in_f1():
    for table in (MANGAZERO, MANGA109):
        assert max(table.rows, key=lambda row: row.value("dialog_f1")).label == "DiffSensei"
    assert MANGAZERO.rows[0].value("kid") is None
