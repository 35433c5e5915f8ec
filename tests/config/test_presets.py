import pytest
from pydantic import ValidationError

from diffsensei.config import PAPER_SOURCES, PRESETS, ConfigError, config_digest, flatten, load_preset
from diffsensei.config.experiment import ExperimentConfig
from diffsensei.config.presets.parts import JUDGE_PROFILES


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name):
    config = load_preset(name)
    assert ExperimentConfig.model_validate_json(config.model_dump_json()) == config


def test_presets_share_one_schema():
    sections = [{path.split(".")[0] for path in flatten(load_preset(name))} for name in PRESETS]
    assert sections[0] == sections[1] == sections[2]


def test_every_paper_source_names_a_field():
    assert not set(PAPER_SOURCES) - set(flatten(load_preset("paper")))


def test_paper_numbers():
    paper = load_preset("paper")
    assert (paper.training.pretrain.steps, paper.training.stage1.steps, paper.training.stage2.steps) == (
        10_000,
        250_000,
        20_000,
    )
    assert paper.model.adapter.rec_loss_scale == 6.0
    assert paper.training.stage1.global_batch_size == (64, 16, 8)
    assert paper.training.stage2.global_batch_size == (128, 32, 8)


def test_compared_methods_see_as_many_panels_as_stage_1():
    paper = load_preset("paper")
    budget, methods = paper.training.stage1, paper.baselines
    for stages in (
        (methods.ar_ldm.training,),
        (methods.storygen.single, methods.storygen.context),
        (methods.seed_story.language_training, methods.seed_story.detokenizer_training),
        (methods.ms_diffusion.training,),
        (methods.ms_diffusion.dialogs_training,),
    ):
        assert sum(stage.steps for stage in stages) == budget.steps
        assert {stage.global_batch_size for stage in stages} == {budget.global_batch_size}


def test_every_recipe_of_a_compared_method_has_sources():
    paths = [path for path in flatten(load_preset("paper")) if path.startswith("baselines.")]
    recipes = {path for path in paths if path.endswith((".steps", ".learning_rate", ".weight_decay", ".trained"))}
    assert sum(path.endswith(".steps") for path in recipes) == 12
    assert recipes <= PAPER_SOURCES.keys()


def test_an_override_changes_one_field_and_the_digest():
    base, changed = load_preset("tiny"), load_preset("tiny", ["training.stage2.steps=7"])
    before, after = flatten(base), flatten(changed)
    assert {path for path in before if before[path] != after[path]} == {"training.stage2.steps"}
    assert config_digest(base) != config_digest(changed)


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("training.stage1.stesp=1", "training.stage1 has steps, learning_rate"),
        ("trainin.stage1.steps=1", "the experiment has name, seed, data"),
        ("training.stage1.steps=ten", "training.stage1.steps: "),
        ("training.stage1.steps=1.5", "training.stage1.steps: "),
        ("training.stage1.global_batch_size=[20]", "20 (tier 64) is not a multiple of micro 16 x processes 1"),
        ("training.stage1.global_batch_size=[16,8]", "2 entries for 1 size tiers"),
        ("baselines.ar_ldm.training.micro_batch_size=[3]", "baselines.ar_ldm.training.global_batch_size 16 (tier 64)"),
        ("training.num_processes=3", "micro 16 x processes 3 = 48; use 48"),
        ("runtime.parallelism=shard", "expected training.num_processes of 2 or more to share the weights, got 1"),
        ("training=1", "is a section with fields pretrain, stage1"),
        ("seed.x=1", "seed is a value, not a section"),
        ("seed", "expected path=value"),
        ("seed=-1", "seed: "),
        ("model.unet.attention_head_dim=[2]", "1 entries for 2 levels"),
        ("model.resampler.num_queries=8", "4 x model.resampler.num_queries 8 = 32 image slots"),
    ],
)
def test_a_wrong_override_is_one_clear_line(assignment, said):
    with pytest.raises(ConfigError) as error:
        load_preset("tiny", [assignment])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_in_parts_and_compiled_blocks_exclude_each_other():
    shared = ["runtime.parallelism=shard", "training.num_processes=2"]
    assert load_preset("paper", shared).runtime.parallelism == "shard"
    with pytest.raises(ConfigError, match=r"expected runtime\.compile none, got blocks"):
        load_preset("paper", [*shared, "runtime.compile=blocks"])


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(ConfigError, match="unknown preset 'huge'; known: tiny, small, paper"):
        load_preset("huge")


def test_values_are_frozen_and_closed():
    config = load_preset("tiny")
    with pytest.raises(ValidationError):
        config.seed = 1
    with pytest.raises(ValidationError):
        config.replaced(typo=1)


def test_judge_profiles_differ_in_what_of_a_panel_is_seen():
    paper, ours = JUDGE_PROFILES["paper"], JUDGE_PROFILES["ours"]
    assert load_preset("paper").evaluation.judges == paper
    assert (paper.fit, ours.fit) == ("processor", "pad")
    assert paper == ours.replaced(fit="processor")
    assert len((paper.clip, *paper.further_clip)) == 2
