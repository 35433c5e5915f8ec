"""A chapter's id is found where someone kept it."""

from diffsensei.data.download.chapters import chapters_by_url

FIRST = "01234567-89ab-4cde-8f01-23456789abcd"
SECOND = "fedcba98-7654-4321-8fed-cba987654321"


def page(path: str = "a/1.jpg", url1: str = "https://h/1", url2: str = "https://h/2", **meta: object) -> dict:
    return {"image_path": path, "meta": {"url1": url1, "url2": url2, **meta}}


def test_where_an_id_may_be() -> None:
    both = {"https://h/1": FIRST, "https://h/2": FIRST}
    assert chapters_by_url([page(chapter_id=FIRST)]) == both
    assert chapters_by_url([page(chapter=FIRST.upper())]) == both
    assert chapters_by_url([page(path=f"series/{FIRST}/3.jpg")]) == both
    assert chapters_by_url([page(chapter1=FIRST, chapter2=SECOND)]) == both | {"https://h/2": SECOND}
    url = f"https://h/chapter/{SECOND}/1.png"
    assert chapters_by_url([page(url1=url, path=f"{FIRST}/1.jpg")]) == {url: SECOND, "https://h/2": FIRST}
    assert chapters_by_url([page(chapter_id=FIRST, chapter2=SECOND)])["https://h/2"] == SECOND


def test_nothing_is_made_up() -> None:
    digest = "0123456789abcdef" * 4
    pages = [
        page(url1=f"https://h/data/{digest}/1-{digest}.png", chapter_id=7),
        page(chapter_id=f"{FIRST}0"),
        page(chapter1=None, path="x"),
        {"meta": {"url1": 3, "url2": None, "chapter": FIRST}},
        {"meta": {"file": "a.png", "width": 1, "height": 1}, "image_path": FIRST},
        {"meta": 3},
        {},
        "page",
        None,
    ]
    assert chapters_by_url(pages) == {}
