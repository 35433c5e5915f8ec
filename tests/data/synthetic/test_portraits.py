"""Character images of a cast: reproducible, different, whole figures on white."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from diffsensei.data.synthetic.captions import caption_tokens, caption_vocabulary
from diffsensei.data.synthetic.cast import draw_series
from diffsensei.data.synthetic.portraits import SIDE, draw_portrait, write_cast


def test_a_cast_is_written_with_the_words_of_captions(tmp_path: Path) -> None:
    portraits = write_cast(1, 2, tmp_path / "cast")
    cast = draw_series(1, 2).cast
    assert len({portrait.path for portrait in portraits}) == len(cast)
    for portrait, identity in zip(portraits, cast, strict=True):
        assert identity.hair_tone in portrait.look or identity.hair_shape == "bald"
        assert set(caption_tokens(portrait.look)) <= set(caption_vocabulary())
        image = cv2.imread(str(portrait.path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (SIDE, SIDE)
        assert (image == draw_portrait(draw_series(1, 2), identity)).all()


def test_portraits_show_someone_on_white_paper_and_differ() -> None:
    series = draw_series(3, 0)
    portraits = [draw_portrait(series, identity) for identity in series.cast]
    for number, portrait in enumerate(portraits):
        assert (portrait[:, 0] == 255).all()
        assert (portrait < 64).mean() > 0.02
        for other in portraits[:number]:
            assert np.abs(portrait.astype(int) - other).mean() > 5


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write character images"):
        write_cast(1, 0, tmp_path / "file")
