import os

import numpy as np
import pytest
from PIL import Image

from reports.pictures import store_pictures


def _save(path, width, height, mode="L", **options):
    rng = np.random.default_rng(width * height)
    pixels = rng.integers(0, 255, size=(height, width) if mode == "L" else (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _store(paths, folder, policy="full"):
    return store_pictures(paths, folder, policy=policy, num_threads=2)


def test_small_pictures_stay_as_they_are(tmp_path):
    path = _save(tmp_path / "small.png", 64, 48)
    stored = _store([path], tmp_path / "assets")[path]
    assert (stored.width, stored.height, stored.kind) == (64, 48, "pixels")
    with Image.open(tmp_path / "assets" / stored.thumb) as ours, Image.open(path) as theirs:
        assert np.array_equal(np.asarray(ours.convert("L")), np.asarray(theirs))


def test_large_pictures_become_a_thumbnail_and_a_view(tmp_path):
    path = _save(tmp_path / "large.png", 1000, 500)
    stored = _store([path], tmp_path / "assets")[path]
    assert (stored.width, stored.height, stored.kind) == (1000, 500, "view")
    sizes = {}
    for name in _names(tmp_path / "assets"):
        with Image.open(tmp_path / "assets" / name) as picture:
            sizes[name] = picture.size
    assert sizes == {f"{stored.name}-256.webp": (256, 128), f"{stored.name}-768.webp": (768, 384)}


def test_pictures_between_the_sizes_are_never_enlarged(tmp_path):
    path = _save(tmp_path / "middle.png", 400, 300)
    stored = _store([path], tmp_path / "assets")[path]
    with Image.open(tmp_path / "assets" / f"{stored.name}-768.webp") as view:
        assert view.size == (400, 300)


@pytest.mark.parametrize(("policy", "ends"), [("none", []), ("thumb", ["-256.webp"])])
def test_the_policy_decides_what_is_written(tmp_path, policy, ends):
    path = _save(tmp_path / "large.png", 900, 900)
    found = _store([path], tmp_path / "assets", policy)
    names = _names(tmp_path / "assets") if found else []
    assert [name[16:] for name in names] == ends
    assert not (policy == "none" and (tmp_path / "assets").exists())


def test_equal_pictures_share_files_and_others_do_not(tmp_path):
    first, second = _save(tmp_path / "a.png", 60, 40), _save(tmp_path / "b.png", 60, 40)
    third = _save(tmp_path / "c.png", 61, 40)
    found = _store([first, second, third], tmp_path / "assets")
    assert found[first].name == found[second].name != found[third].name
    assert len(_names(tmp_path / "assets")) == 2


def test_what_another_version_encoded_is_not_encoded_again(tmp_path):
    path = _save(tmp_path / "a.png", 300, 300)
    stored = _store([path], tmp_path / "assets")[path]
    view = tmp_path / "assets" / f"{stored.name}-768.webp"
    view.write_bytes(b"as it was left")
    (tmp_path / "assets" / stored.thumb).unlink()
    _store([path], tmp_path / "assets")
    assert view.read_bytes() == b"as it was left"
    assert (tmp_path / "assets" / stored.thumb).is_file()


def test_pictures_of_an_earlier_report_are_linked(tmp_path):
    path, further = _save(tmp_path / "a.png", 300, 300), _save(tmp_path / "b.png", 300, 280)
    stored = _store([path], tmp_path / "earlier")[path]
    options = {"policy": "full", "num_threads": 2}
    found = store_pictures([path, further], tmp_path / "later", encoded=tmp_path / "earlier", **options)
    assert found[path] == stored
    assert len(_names(tmp_path / "later")) == 4
    for name in _names(tmp_path / "earlier"):
        assert os.path.samefile(tmp_path / "earlier" / name, tmp_path / "later" / name)
    alone = store_pictures([path, further], tmp_path / "alone", encoded=tmp_path / "nowhere", **options)
    assert alone == found
    for name in _names(tmp_path / "alone"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "later" / name).read_bytes()


def test_a_picture_no_larger_than_its_thumbnail_has_no_view(tmp_path):
    path = _save(tmp_path / "small.png", 256, 200)
    assert _store([path], tmp_path / "assets")[path].kind == "thumb"
    assert len(_names(tmp_path / "assets")) == 1


def test_nothing_but_pixels_gets_in(tmp_path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    _save(path, 300, 200, "RGB", exif=exif, comment=b"taken at home")
    assert b"taken at home" in path.read_bytes()
    _store([path], tmp_path / "assets")
    for file in (tmp_path / "assets").iterdir():
        assert b"taken at home" not in file.read_bytes()
        with Image.open(file) as picture:
            assert picture.mode == "RGB"
            assert not picture.getexif()


def test_missing_pictures_are_left_out_and_broken_ones_named(tmp_path):
    assert _store([tmp_path / "absent.png"], tmp_path / "assets") == {}
    broken = tmp_path / "broken.png"
    broken.write_bytes(_save(tmp_path / "a.png", 300, 300).read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"broken\.png is no readable picture"):
        _store([broken], tmp_path / "assets")
    assert _names(tmp_path / "assets") == []
