"""Pickles give tensors or nothing: what they would run is not run."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from diffsensei.released.stored import folder_state, pickled_state, read_pickle, safetensors_state


class Trap:
    """Unpickled, it would make a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_before_it_does(tmp_path: Path, zipped: bool) -> None:
    path, mark = tmp_path / "pytorch_model.bin", tmp_path / "ran"
    content = {"weight": torch.zeros(2), "trap": Trap(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"nothing but tensors.*nothing in it was run") as error:
        read_pickle(path)
    assert "\n" not in str(error.value)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "the trap works where pickles are trusted"


def test_a_bare_pickle_is_refused_too(tmp_path: Path) -> None:
    path, mark = tmp_path / "pytorch_model.bin", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(ValueError, match="nothing but tensors"):
        read_pickle(path)
    assert not mark.exists()


@settings(deadline=None, max_examples=50)
@given(data=st.binary(max_size=200), cut=st.integers(0, 400))
def test_any_damage_is_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int) -> None:
    path = tmp_path_factory.mktemp("damage") / "pytorch_model.bin"
    torch.save({"weight": torch.arange(4.0)}, path)
    whole = path.read_bytes()
    for content in (data, whole[:-cut] if cut else whole, whole[:cut] + data + whole[cut:]):
        path.write_bytes(content)
        said = ""
        try:
            read_pickle(path)
        except ValueError as error:
            said = str(error)
        assert "\n" not in said


@pytest.mark.parametrize("zipped", [True, False])
def test_parameters_come_back_as_tensors(tmp_path: Path, zipped: bool) -> None:
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(3))
    torch.save({"weight": parameter}, tmp_path / "w.bin", _use_new_zipfile_serialization=zipped)
    state = pickled_state(tmp_path / "w.bin")
    assert state["weight"].shape == (3,)
    read = state["weight"].read()
    assert torch.equal(read, parameter.detach())
    assert not read.requires_grad


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    torch.save([torch.zeros(1)], path)
    with pytest.raises(ValueError, match="expected a dict of tensors, got list"):
        read_pickle(path)
    torch.save({"nested": {"weight": torch.zeros(1)}, "step": 3}, path)
    with pytest.raises(ValueError, match=r"others under \['nested', 'step'\] \(2 in all\)"):
        pickled_state(path)
    with pytest.raises(ValueError, match=r"expected none\.bin in"):
        read_pickle(tmp_path / "none.bin")
    (tmp_path / "w.safetensors").write_bytes(b"no header")
    with pytest.raises(ValueError, match="cannot be read"):
        safetensors_state(tmp_path / "w.safetensors")


def test_pickled_shards_are_joined_by_their_index(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.ones(2)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    (tmp_path / "pytorch_model.bin.index.json").write_text(
        '{"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}'
    )
    assert {name: tensor.shape for name, tensor in folder_state(tmp_path).items()} == {"a": (1,), "b": (2,)}


def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "outside.bin")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../outside.bin"}}')
    with pytest.raises(ValueError, match=r"expected outside\.bin in .*inside"):
        folder_state(inside)
