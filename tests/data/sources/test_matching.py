"""A file is matched to a url where nothing else fits either; all else is said to be ambiguous."""

from diffsensei.data.sources.hash_list import ImageHash
from diffsensei.data.sources.matching import Match, Piece, Wanted, fits_shape, match

SHA = "ab" * 32


def wanted(
    url: str, width: int = 100, low: float = 140.0, *, left: bool = True, path: str = "s/c/001.png", **known
) -> Wanted:
    return Wanted(url, path, width, low, left, ImageHash(**known))


def piece(
    file: str, width: int = 100, height: int = 150, *, dhash: str = "", sha256: str = "", start=0, stop=0
) -> Piece:
    return Piece(file, sha256 or file, dhash, width, height, start, stop)


def states(found: list[Match]) -> dict[str, tuple]:
    return {m.url: (m.state, m.method, m.piece.file if m.piece else None) for m in found}


def test_a_digest_settles_it_whatever_else_fits() -> None:
    pieces = [piece("other"), piece("mine", sha256=SHA), piece("copy", sha256=SHA)]
    (found,) = match([wanted("u", sha256=SHA)], pieces)
    assert (found.state, found.method, found.piece, found.candidates) == ("matched", "sha256", pieces[1], 2)


def test_a_look_settles_it_where_it_is_the_only_one() -> None:
    near, far = "00000000000000ff", "ffff0000000000ff"
    urls = [wanted("a", dhash="00000000000000fe"), wanted("b", dhash="aaaaaaaaaaaaaaaa")]
    found = match(urls, [piece("near", dhash=near), piece("far", dhash=far), piece("near but narrow", 61, dhash=near)])
    assert states(found) == {"a": ("matched", "dhash", "near"), "b": ("missing", None, None)}
    assert "1 bits" in found[0].evidence
    twice = match(urls[:1], [piece("one", dhash=near), piece("two", dhash=near)])
    assert (twice[0].state, twice[0].candidates) == ("ambiguous", 2)
    shared = match([urls[0], wanted("c", dhash=near)], [piece("one", dhash=near)])
    assert [m.state for m in shared] == ["ambiguous", "ambiguous"]
    assert "other urls" in shared[0].evidence


def test_a_shape_settles_it_only_alone() -> None:
    assert states(match([wanted("u", 100)], [piece("x", 100), piece("y", 90)])) == {"u": ("matched", "geometry", "x")}
    two = match([wanted("u", path="s/c/007.png")], [piece("p3.png"), piece("p07.png")])[0]
    assert (two.state, two.evidence) == ("ambiguous", "p07.png, p3.png"), "the one of the same number is named first"
    assert match([wanted("u"), wanted("v")], [piece("x")])[0].state == "ambiguous"


def test_one_picture_is_used_once() -> None:
    pieces = [
        piece("x", sha256=SHA),
        piece("x", 50, sha256=SHA, stop=50),
        piece("x", 50, sha256=SHA, start=50, stop=100),
    ]
    found = match([wanted("u", sha256=SHA), wanted("half", 50)], pieces)
    assert states(found) == {"u": ("matched", "sha256", "x"), "half": ("missing", None, None)}


def test_shapes() -> None:
    assert fits_shape(wanted("u", 100, 150), piece("x", 100, 150))
    assert fits_shape(wanted("u", 100, 150), piece("x", 50, 75)), "a data-saver copy"
    assert not fits_shape(wanted("u", 100, 150), piece("x", 100, 140)), "boxes would lie below it"
    assert not fits_shape(wanted("u", 100, 150), piece("x", 90, 150))
    assert not fits_shape(wanted("u", 0), piece("x"))
    right_part = piece("x", 100, 150, start=100, stop=200)
    assert fits_shape(wanted("u", left=False), right_part)
    assert not fits_shape(wanted("u", left=True), right_part)
    listed = Wanted("u", "p", 100, 0.0, True, ImageHash(width=200, height=300))
    assert fits_shape(listed, piece("x", 100, 150))
    assert not fits_shape(listed, piece("x", 100, 160))
