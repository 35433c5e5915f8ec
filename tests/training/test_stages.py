"""The three stages on a small world: outputs that load, crashes that leave no trace, a frozen generator in stage 2."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from diffsensei.config.presets import tiny
from diffsensei.config.schema import REFERENCE, CacheConfig, LayoutConfig
from diffsensei.data.panels.panel_set import PANEL_SCHEMA
from diffsensei.foundations.loading import load_llm
from diffsensei.models.identity_adapter import load_adapter
from diffsensei.models.resampler import Resampler
from diffsensei.models.unet import load_unet
from diffsensei.training.checkpoints import CheckpointFolder
from diffsensei.training.features import encode_features
from diffsensei.training.stages import pretrain, stage1, stage2
from tests.training.launched_stages import RUNTIME

TEXT = ("text_encoder", "text_encoder_2")
IMAGES = ("clip_image_encoder", "magi_image_encoder")


def folders(root: Path) -> dict[str, Path]:
    made = {name: root / name for name in ("workspace", "output")}
    for path in made.values():
        path.mkdir(parents=True, exist_ok=True)
    return made


def common(world: Any, root: Path, **more: Any) -> dict[str, Any]:
    settings = {"seed": 0, "num_processes": 1, "mixed_precision": "no", "bucket_draw": "step", "runtime": RUNTIME}
    settings |= {"buckets": tiny().data.buckets, **world.named("vae")}
    return settings | {"panels": world.panels, "features": world.features, **folders(root), **more}


def run_pretrain(world: Any, experiment: Any, root: Path, **more: Any) -> Path:
    arguments = common(world, root, stage=experiment.training.pretrain) | more
    pretrain(
        unet=experiment.model.unet, unet_weights="random", caption_drop_rate=0.05, **world.named(*TEXT), **arguments
    )
    return root / "output"


def run_stage1(world: Any, experiment: Any, root: Path, pretrained: Path, **more: Any) -> Path:
    stage1(
        ip_adapter="none",
        pretrain=pretrained,
        **world.named(*TEXT, *IMAGES)
        | common(world, root, stage=experiment.training.stage1)
        | {"resampler": experiment.model.resampler, "layout": experiment.model.layout}
        | {"fidelity": experiment.model.fidelity, "conditioning": experiment.data.conditioning}
        | more,
    )
    return root / "output"


def run_stage2(world: Any, experiment: Any, root: Path, generator: Path, **more: Any) -> Path:
    stage2(
        conditioning=experiment.data.conditioning,
        stage1=generator,
        **world.named(*TEXT, *IMAGES, "llm"),
        **common(world, root, stage=experiment.training.stage2)
        | {"adapter": experiment.model.adapter, "fidelity": experiment.model.fidelity}
        | more,
    )
    return root / "output"


def encode(world: Any, experiment: Any, root: Path, **choices: Any) -> Path:
    for name in ("features", "features-workspace"):
        (root / name).mkdir()
    settings = {"buckets": experiment.data.buckets, "cache": experiment.data.cache, "magi_patches": "all"} | choices
    encode_features(
        **world.named("vae", *TEXT, *IMAGES),
        **settings,
        num_threads=1,
        panels=world.panels,
        workspace=root / "features-workspace",
        output=root / "features",
    )
    return root / "features"


@pytest.fixture(scope="module")
def pretrained(world: Any, experiment: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_pretrain(world, experiment, tmp_path_factory.mktemp("pretrain"))


@pytest.fixture(scope="module")
def generator(world: Any, experiment: Any, tmp_path_factory: pytest.TempPathFactory, pretrained: Path) -> Path:
    return run_stage1(world, experiment, tmp_path_factory.mktemp("stage1"), pretrained)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.relative_to(folder)}:{name}": tensor
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def assert_same_tensors(one: Path, other: Path) -> None:
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def test_pretrain_writes_a_plain_unet_and_its_record(pretrained: Path, experiment: Any) -> None:
    network = load_unet(pretrained / "unet")
    assert "manga_conditions" not in network.config
    record = json.loads((pretrained / "training.json").read_text())
    assert record["stage"] == "pretrain"
    assert record["num_trained_parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert record["last_metrics"]["step"] == experiment.training.pretrain.steps
    lines = (pretrained / "logs" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert list((pretrained / "logs" / "tensorboard").glob("events*"))


def test_stage1_trains_the_whole_generator(pretrained: Path, generator: Path) -> None:
    before, after = load_unet(pretrained / "unet").state_dict(), load_unet(generator / "unet").state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before if name in after)
    added = after.keys() - before.keys()
    assert "dialog_bbox_embedding" in added
    assert any(name.endswith("attn2.processor.to_k_ip.weight") for name in added)
    extractor = Resampler.from_pretrained(generator / "resampler")
    assert extractor.config["num_queries"] == 4
    first_layer = next(name for name in before if name.endswith("attn2.to_k.weight"))
    copied = first_layer.replace("to_k.weight", "processor.to_k_ip.weight")
    assert not torch.equal(after[copied], before[first_layer])


def test_stage2_trains_the_adapter_and_nothing_else(
    world: Any, experiment: Any, generator: Path, tmp_path: Path
) -> None:
    before = tensors(generator)
    output = run_stage2(world, experiment, tmp_path, generator)
    after = tensors(generator)
    assert all(torch.equal(before[name], after[name]) for name in before)
    adapter = load_adapter(output / "adapter", load_llm(world.foundations["llm"]))
    record = json.loads((output / "training.json").read_text())
    metrics = record["last_metrics"]
    assert record["num_trained_parameters"] == sum(p.numel() for p in adapter.trainable_parameters())
    weights = experiment.model.adapter
    expected = (
        weights.diffusion_loss_scale * metrics["train/diffusion_loss"]
        + weights.lm_loss_scale * metrics["train/lm_loss"]
        + weights.rec_loss_scale * metrics["train/rec_loss"]
    )
    assert metrics["train/loss"] == pytest.approx(expected, rel=1e-5)


def test_ablations_are_recorded_in_what_stage1_writes_and_stage2_goes_on_from_there(
    world: Any, experiment: Any, pretrained: Path, tmp_path: Path
) -> None:
    """Table 3's alternatives, LoRA, and the reference's ways, all at once."""
    choices = {
        "stage": experiment.training.stage1.replaced(steps=2, trained="lora", lora_rank=2, lora_alpha=2.0),
        "layout": LayoutConfig(characters="fourier", dialogs="fourier"),
        "resampler": experiment.model.resampler.replaced(magi=False),
        "fidelity": REFERENCE,
        "conditioning": experiment.data.conditioning,
        "features": encode(world, experiment, tmp_path, magi_patches=REFERENCE.magi_patches),
    }
    generator = run_stage1(world, experiment, tmp_path / "stage1", pretrained, **choices)
    network = load_unet(generator / "unet")
    assert network.config["manga_conditions"] == {
        "num_queries": 4,
        "max_characters": 4,
        "mask": "reference",
        "characters": "fourier",
        "dialogs": "fourier",
    }
    before, after = load_unet(pretrained / "unet").state_dict(), network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        name
        for name in before
        if name.rsplit(".", 1)[0].endswith(("to_q", "to_k", "to_v", "to_out.0")) and not name.endswith("bias")
    }
    extractor = Resampler.from_pretrained(generator / "resampler")
    recorded = {name: extractor.config[name] for name in ("magi", "magi_patches", "empty_slots")}
    assert recorded == {"magi": False, "magi_patches": "masked", "empty_slots": "resampled"}
    assert not any("magi" in name for name in extractor.state_dict())
    stage = experiment.training.stage2.replaced(steps=1)
    output = run_stage2(
        world, experiment, tmp_path / "stage2", generator, stage=stage, fidelity=REFERENCE, features=choices["features"]
    )
    assert (output / "adapter" / "config.json").is_file()


def test_the_same_run_twice_gives_the_same_weights(
    world: Any, experiment: Any, generator: Path, pretrained: Path, tmp_path: Path
) -> None:
    again = run_stage1(world, experiment, tmp_path, pretrained)
    assert_same_tensors(again, generator)
    assert (again / "training.json").read_text() == (generator / "training.json").read_text()


def test_a_stage_ends_with_the_average_of_its_weights_where_it_keeps_one(
    world: Any, experiment: Any, tmp_path: Path
) -> None:
    stage = experiment.training.pretrain.replaced(ema_decay=0.5)
    output = run_pretrain(world, experiment, tmp_path, stage=stage)
    checkpoint = CheckpointFolder(tmp_path / "workspace" / "checkpoints").load_newest()
    assert checkpoint is not None
    saved = load_unet(output / "unet").state_dict()
    assert len(saved) == len(checkpoint.tensors["average"])
    for name, average in checkpoint.tensors["average"].items():
        assert torch.equal(saved[name.removeprefix("unet.")], average), name
    last = checkpoint.tensors["weights"]
    assert any(not torch.equal(average, last[name]) for name, average in checkpoint.tensors["average"].items())


def test_recomputed_activations_give_the_same_weights(
    world: Any, experiment: Any, generator: Path, pretrained: Path, tmp_path: Path
) -> None:
    """Up to rounding; dropout included, which must fall on the same values the second time."""
    again = run_stage1(
        world, experiment, tmp_path / "stage1", pretrained, runtime=RUNTIME.replaced(gradient_checkpointing="all")
    )
    for name, tensor in tensors(generator).items():
        torch.testing.assert_close(tensors(again)[name], tensor, atol=1e-5, rtol=1e-4)
    outputs = [
        run_stage2(
            world,
            experiment,
            tmp_path / networks,
            generator,
            runtime=RUNTIME.replaced(gradient_checkpointing=networks),
        )
        for networks in ("none", "llm", "all")
    ]
    kept, *recomputed = [tensors(output) for output in outputs]
    for name, tensor in kept.items():
        for other in recomputed:
            torch.testing.assert_close(other[name], tensor, atol=1e-5, rtol=1e-4)


def test_encoders_in_the_loop_train_like_stored_features(
    world: Any, experiment: Any, generator: Path, pretrained: Path, tmp_path: Path
) -> None:
    """Without the cache the same features are computed at every step; only half precision sets them apart."""
    features = encode(world, experiment, tmp_path, cache=CacheConfig(text=False, characters=False))
    output = run_stage1(world, experiment, tmp_path / "run", pretrained, features=features)
    stored = json.loads((generator / "training.json").read_text())["last_metrics"]
    online = json.loads((output / "training.json").read_text())["last_metrics"]
    assert online["train/loss"] == pytest.approx(stored["train/loss"], rel=1e-2)


def changed_panels(world: Any, root: Path) -> dict[str, Any]:
    """One caption reads otherwise."""
    shutil.copytree(world.panels, root / "panels")
    path = root / "panels" / "train" / "panels.parquet"
    table = pq.read_table(path).to_pylist()
    table[0]["caption"] = "another"
    pq.write_table(pa.Table.from_pylist(table, schema=PANEL_SCHEMA), path)
    return {"panels": root / "panels"}


def changed_buckets(world: Any, root: Path) -> dict[str, Any]:
    return {"buckets": tiny().data.buckets.replaced(buckets_per_orientation=1)}


def changed_folder(name: str, file: str) -> Callable[[Any, Path], dict[str, Any]]:
    """A frozen part of which one file has other bytes, in a copy of the folder that holds it and its neighbours."""

    def change(world: Any, root: Path) -> dict[str, Any]:
        copy = root / "foundations"
        shutil.copytree(Path(world.foundations[name]).parent, copy)
        path = copy / file
        path.write_bytes(path.read_bytes() + b" ")
        return {name: str(copy / name)}

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (changed_panels, "another panel set"),
        (changed_buckets, "another table of buckets"),
        (changed_folder("vae", "vae/config.json"), "another VAE"),
        (changed_folder("text_encoder", "tokenizer/tokenizer.json"), "other text encoders or tokenizers"),
        (
            changed_folder("clip_image_encoder", "clip_image_encoder/preprocessor_config.json"),
            "other image encoders or preprocessing",
        ),
        (lambda *_: {"fidelity": tiny().model.fidelity.replaced(magi_patches="masked")}, "other image encoders"),
    ],
    ids=["panels", "buckets", "vae", "tokenizer", "image processor", "magi patches"],
)
def test_stale_features_are_refused(
    world: Any, experiment: Any, pretrained: Path, tmp_path: Path, change: Callable[..., Any], named: str
) -> None:
    with pytest.raises(ValueError, match=f"features of {named}.*run stage features again"):
        run_stage1(world, experiment, tmp_path / "run", pretrained, **change(world, tmp_path))


def test_another_number_of_processes_is_refused(world: Any, experiment: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="accelerate launch --num_processes 2"):
        run_pretrain(world, experiment, tmp_path, num_processes=2)


def test_parts_that_draw_a_size_each_train_as_surely(world: Any, experiment: Any, tmp_path: Path) -> None:
    stage = experiment.training.pretrain.replaced(micro_batch_size=(1,))
    once, again, one_size = (
        run_pretrain(world, experiment, tmp_path / name, stage=stage, bucket_draw=draw)
        for name, draw in (("once", "part"), ("again", "part"), ("one size", "step"))
    )
    assert_same_tensors(once, again)
    panels = [json.loads((path / "training.json").read_text())["last_metrics"] for path in (once, one_size)]
    assert panels[0] != panels[1]


def test_bfloat16_trains_float32_master_weights(world: Any, experiment: Any, generator: Path, tmp_path: Path) -> None:
    output = run_stage2(world, experiment, tmp_path, generator, mixed_precision="bf16")
    assert {tensor.dtype for tensor in tensors(output / "adapter").values()} == {torch.float32}


CHILD = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from diffsensei.config.schema import BucketConfig, RuntimeConfig, TrainStageConfig, UNetConfig
from diffsensei.training.stages import pretrain
arguments = json.loads(sys.argv[1])
for name in ("panels", "features", "workspace", "output"):
    arguments[name] = Path(arguments[name])
arguments["stage"] = TrainStageConfig(**arguments["stage"])
arguments["unet"] = UNetConfig(**arguments["unet"])
arguments["buckets"] = BucketConfig(**arguments["buckets"])
arguments["runtime"] = RuntimeConfig(**arguments["runtime"])
pretrain(**arguments)
"""


def child(world: Any, experiment: Any, root: Path, launcher: tuple[str, ...] = (), **more: Any) -> Any:
    """The stage in a process of its own, as a job runs it."""
    arguments = common(world, root, stage=experiment.training.pretrain.model_dump()) | world.named(*TEXT) | more
    arguments |= {name: arguments[name].model_dump() for name in ("buckets", "runtime")}
    arguments |= {"unet": experiment.model.unet.model_dump(), "unet_weights": "random", "caption_drop_rate": 0.05}
    script = root / "child.py"
    script.write_text(CHILD)
    return subprocess.Popen(
        [*(launcher or (sys.executable,)), str(script), json.dumps(arguments, default=str)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.getcwd()},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_killed_and_terminated_it_ends_with_the_same_weights(world: Any, experiment: Any, tmp_path: Path) -> None:
    config = experiment.training.pretrain.replaced(steps=60, checkpoint_every_steps=10)
    straight = run_pretrain(world, experiment, tmp_path / "straight", stage=config)
    root = tmp_path / "interrupted"
    root.mkdir()
    for after, number, expected in ((10, signal.SIGKILL, -9), (20, signal.SIGTERM, 143)):
        process = child(world, experiment, root, stage=config.model_dump())
        deadline = time.monotonic() + 300
        while not (root / "workspace" / "checkpoints" / f"step-{after:08d}").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == expected, errors
    assert_same_tensors(run_pretrain(world, experiment, root, stage=config), straight)


@pytest.mark.slow
def test_two_processes_train_like_one(world: Any, experiment: Any, pretrained: Path, tmp_path: Path) -> None:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = child(world, experiment, tmp_path, launcher, num_processes=2)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    alone, together = tensors(pretrained), tensors(tmp_path / "output")
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, atol=2e-4, rtol=1e-3)
