import numpy as np
import pytest
from PIL import Image

from diffsensei.evaluation.features import class_token_embedder, clip_image_embedder, fit_to_square
from diffsensei.evaluation.inception import clean_resize, first_pool_embedder, inception_embedder
from diffsensei.evaluation.judges import load_judges
from diffsensei.foundations.judge_encoders import load_judge_clip, load_judge_dino


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size=size, dtype=np.uint8) for size in ((40, 40), (20, 90), (64, 32))]


def test_padding_keeps_the_whole_panel_and_its_aspect():
    wide = np.zeros((10, 40), np.uint8)
    square = np.asarray(fit_to_square(wide, 40, "pad", Image.Resampling.NEAREST))[..., 0]
    assert np.all(square[15:25] == 0)
    assert np.all(square[:15] == 255)
    assert np.all(square[25:] == 255)
    assert np.all(np.asarray(fit_to_square(wide, 40, "squash", Image.Resampling.NEAREST)) == 0)


def test_the_processors_crop_does_not_see_the_ends_of_a_wide_panel_but_squashing_does(judge_folders):
    plain = np.full((32, 128), 128, np.uint8)
    marked = plain.copy()
    marked[:, :40] = 0
    judge = load_judge_clip(judge_folders["clip"])
    cropped = clip_image_embedder(judge, "processor")([plain, marked])
    squashed = clip_image_embedder(judge, "squash")([plain, marked])
    np.testing.assert_array_equal(cropped[0], cropped[1])
    assert np.abs(squashed[0] - squashed[1]).max() > 1e-4


def test_square_images_are_the_same_under_every_fit(judge_folders, images):
    judge = load_judge_dino(judge_folders["dino"])
    one, two, three = (class_token_embedder(judge, fit)(images[:1]) for fit in ("processor", "pad", "squash"))
    np.testing.assert_allclose(one, two, atol=1e-4)
    np.testing.assert_allclose(two, three, atol=1e-6)


def test_batches_do_not_change_features(judge_folders, images):
    embed = class_token_embedder(load_judge_dino(judge_folders["dino"]), "squash")
    many = embed(images * 30)
    assert many.shape == (90, 16)
    np.testing.assert_allclose(many[61], embed([images[1]])[0], atol=1e-5)
    assert len(embed([])) == 0


def test_resizing_equals_clean_fids(images):
    from cleanfid.resize import make_resizer

    resize = make_resizer("PIL", False, "bicubic", (299, 299))
    for image in images:
        np.testing.assert_array_equal(clean_resize(image, 299), resize(np.stack([image] * 3, axis=-1))[..., 0])


def test_missing_judges_are_states_with_reasons(evaluation, tmp_path):
    config = evaluation.judges.replaced(dino="/nowhere/dino", fid_features="/nowhere/inception-2015-12-05.pt")
    judges = load_judges(config, tmp_path, 0.5)
    assert judges.clips[0] is not None
    assert judges.dino is None
    assert judges.distribution is None
    assert "/nowhere/dino" in judges.missing["dino"]
    assert "inception" in judges.missing["distribution"]


def test_inception_is_never_downloaded(tmp_path):
    with pytest.raises(ValueError, match="no file"):
        inception_embedder(str(tmp_path / "inception-2015-12-05.pt"))


def test_inception_sees_299_pixels_in_its_own_range(tmp_path, images):
    """A stand-in TorchScript module with NVIDIA's interface: ``layers`` takes (x - 128) / 128."""
    import torch

    class Layers(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1)[:, :1].repeat(1, 2048)

    class Inception(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = Layers()

        def forward(self, x):
            return self.layers(x)

    path = tmp_path / "inception-2015-12-05.pt"
    torch.jit.script(Inception()).save(str(path))
    features = inception_embedder(str(path))(images)
    assert features.shape == (3, 2048)
    wanted = [(clean_resize(image, 299).mean() - 128) / 128 for image in images]
    np.testing.assert_allclose(features[:, 0], wanted, atol=1e-4)


def test_the_first_pool_is_averaged_over_the_picture(tmp_path, images):
    """A stand-in with the names of NVIDIA's layers: halving convolutions of weight 1 in 64 channels, then pooling."""
    import torch

    class Layers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 64, 1, bias=False)
            torch.nn.init.constant_(self.conv.weight, 1 / 3)
            self.conv_1, self.conv_2 = torch.nn.Identity(), torch.nn.Identity()
            self.pool0 = torch.nn.AvgPool2d(299)

        def forward(self, x):
            return self.pool0(self.conv(x)).flatten(1).repeat(1, 32)

    class Inception(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = Layers()

        def forward(self, x):
            return self.layers(x)

    path = tmp_path / "inception-2015-12-05.pt"
    torch.jit.script(Inception()).save(str(path))
    features = first_pool_embedder(str(path))(images)
    assert features.shape == (3, 64)
    wanted = [(clean_resize(image, 299).mean() - 128) / 128 for image in images]
    np.testing.assert_allclose(features[:, 7], wanted, atol=1e-4)


def test_a_judge_is_known_by_weights_processor_and_fit(evaluation, tmp_path):
    squashed, padded = (load_judges(evaluation.judges.replaced(fit=fit), tmp_path, 0.5) for fit in ("squash", "pad"))
    assert squashed.identities["clip"] != padded.identities["clip"]
    assert squashed.identities["clip"] != squashed.identities["dino"]
    assert squashed.identities == load_judges(evaluation.judges.replaced(fit="squash"), tmp_path, 0.5).identities
    assert "characters" in squashed.missing


def test_further_clips_are_judges_of_their_own(evaluation, tmp_path):
    chosen = evaluation.judges.replaced(further_clip=("/nowhere/clip", evaluation.judges.clip))
    judges = load_judges(chosen, tmp_path, 0.5)
    assert [pair is not None for pair in judges.clips] == [True, False, True]
    assert judges.missing["clip_2"].endswith("set evaluation.judges.further_clip")
