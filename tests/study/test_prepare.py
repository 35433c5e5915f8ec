"""Packets tell nothing of methods, the key tells everything, and the same seed and secret give the same bytes."""

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from diffsensei.config.schema import StudyConfig
from diffsensei.study.packets import packet_digest, read_invitations, read_key, read_packets, read_tokens, token_digest
from diffsensei.study.prepare import prepare_study
from tests.study.conftest import METHODS, SECRET


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_packets_are_blind(prepared: Path, drawings: dict[str, Path]) -> None:
    packets = contents(prepared / "packets")
    for name, data in packets.items():
        for method in METHODS:
            assert method.encode() not in data, name
            assert method not in name
        assert b"page-" not in data, "nor pages"
    images = [data for name, data in packets.items() if name.endswith(".png")]
    digests = {hashlib.sha256(data).hexdigest() for data in images}
    assert len(digests) == len(images), "the same page is never twice the same file"
    for name in packets:
        if name.endswith(".png"):
            with Image.open(prepared / "packets" / name) as image:
                assert (image.info, image.mode) == ({}, "L")


def test_key_and_packets_belong_together(prepared: Path, study_config: StudyConfig) -> None:
    key, packets, tokens = read_key(prepared), read_packets(prepared), read_tokens(prepared)
    assert key.config == study_config
    assert len(packets) == len(tokens) == study_config.num_raters
    for rater in key.raters:
        packet = packets[rater.packet]
        assert rater.digest == packet_digest(packet)
        assert rater.token_digest == token_digest(tokens[rater.packet])
        assert read_invitations(prepared)[rater.token_digest] == rater.packet
        assert [t.trial for t in rater.trials] == [t.trial for t in packet.trials]
        assert {p.stem for p in (prepared / "packets" / rater.packet / "images").iterdir()} == packet.images()
        kinds = [trial.kind for trial in rater.trials]
        assert (kinds.count("item"), kinds.count("check"), kinds.count("repeat")) == (3, 2, 1)
        for trial, secret in zip(packet.trials, rater.trials, strict=True):
            assert len(trial.options) == len(secret.methods) == 2
            assert secret.page_id != "page-0", "a page of one panel is left out"
            assert [line[-1] for line in trial.descriptions] == ["0", "1", "2", "3"], "in reading order"
            assert len(trial.characters) == 2
            for option in trial.options:
                with Image.open(prepared / "packets" / packet.packet / "images" / f"{option}.png") as image:
                    assert image.size == trial.size, "all methods in the same frame"
    for token in tokens.values():
        assert all(token.encode() not in data for data in contents(prepared / "packets").values())
    assert (prepared / "key").stat().st_mode & 0o077 == 0


def test_seed_and_secret_decide_everything(
    prepared: Path, study_config: StudyConfig, benchmark_folder: Path, drawings: dict[str, Path], tmp_path: Path
) -> None:
    def again(output: str, secret: bytes | None) -> dict[str, bytes]:
        prepare_study(
            study=study_config,
            seed=0,
            benchmark=benchmark_folder,
            drawings=drawings,
            output=tmp_path / output,
            secret=secret,
        )
        return contents(tmp_path / output)

    assert again("same", SECRET) == contents(prepared)
    other = again("other", None)
    assert not set(other) & {name for name in contents(prepared) if name.endswith(".png")}
    plans = [
        [
            [(t["kind"], t["page_id"], t["methods"]) for t in r["trials"]]
            for r in json.loads(c["key/key.json"])["raters"]
        ]
        for c in (other, contents(prepared))
    ]
    assert plans[0] == plans[1], "the plan follows from the seed alone"


def test_what_is_wrong_is_named(
    prepared: Path, study_config: StudyConfig, benchmark_folder: Path, drawings: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="give a new folder"):
        prepare_study(study=study_config, seed=0, benchmark=benchmark_folder, drawings=drawings, output=prepared)
    with pytest.raises(ValueError, match=r"sketch lacks 15, the first p1-1.png"):
        prepare_study(
            study=study_config,
            seed=0,
            benchmark=benchmark_folder,
            drawings=drawings | {"sketch": tmp_path},
            output=tmp_path / "new",
        )
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="diffsensei study prepare"):
        read_packets(tmp_path)
    with pytest.raises(ValueError, match="put the folder `key` back"):
        read_key(tmp_path)
