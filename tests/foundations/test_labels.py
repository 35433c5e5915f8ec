import numpy as np
import torch

from diffsensei.data.synthetic.cast import FACINGS
from diffsensei.foundations.drawn_pool import PoolPanel, crops
from diffsensei.foundations.labels import LOOKS, STATES, LabelHeads, crop_labels, mirrored_labels, panel_facts


def test_labels_name_what_was_drawn(panels: list[PoolPanel]) -> None:
    found = crops(panels)
    labels = crop_labels(found)
    for name, table in (LOOKS | STATES).items():
        assert [tuple(table)[number] for number in labels[name]] == [crop.character.labels[name] for crop in found]


def test_mirror_swaps_left_and_right_only(panels: list[PoolPanel]) -> None:
    labels = crop_labels(crops(panels))
    mirrored = mirrored_labels(labels)
    left, right, away = (FACINGS.index(name) for name in ("left", "right", "away"))
    assert (mirrored["facing"][labels["facing"] == left] == right).all()
    assert (mirrored["facing"][labels["facing"] == right] == left).all()
    assert (mirrored["facing"][labels["facing"] == away] == away).all()
    assert all(np.array_equal(mirrored[name], labels[name]) for name in labels if name != "facing")


def test_facts_count_people_and_are_equal_for_equal_panels(panels: list[PoolPanel]) -> None:
    facts = panel_facts(panels)
    assert facts.shape[0] == len(panels)
    assert set(np.unique(facts)) == {0.0, 1.0}
    np.testing.assert_array_equal(panel_facts([panels[3]])[0], facts[3])
    empty = [index for index, panel in enumerate(panels) if not panel.characters]
    crowded = [index for index, panel in enumerate(panels) if len(panel.characters) > 1]
    assert not empty or facts[empty].sum(axis=1).max() < facts[crowded].sum(axis=1).min()


def test_heads_learn_a_label_that_a_feature_holds(panels: list[PoolPanel]) -> None:
    labels = crop_labels(crops(panels))
    features = torch.nn.functional.one_hot(torch.from_numpy(labels["hair_tone"]), 3).float() * 20
    torch.manual_seed(0)
    heads = LabelHeads(3, ["hair_tone"])
    before = heads.loss(features, labels)
    with torch.no_grad():
        heads.heads["hair_tone"].weight.copy_(torch.eye(3))
        heads.heads["hair_tone"].bias.zero_()
    assert heads.loss(features, labels) < 1e-6 < before
