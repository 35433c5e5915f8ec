"""Who is answered, what is refused, and that a vote counts once."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from diffsensei.study.admission import Limiter
from diffsensei.study.ledger import Ledger, open_ledger, read_votes
from diffsensei.study.packets import read_packets, read_tokens
from diffsensei.study.server import MAX_BODY_BYTES, Counter, Limits, build_app, serve
from diffsensei.study.votes import Vote

ADDRESS = "http://127.0.0.1:7870"
CHOICES = dict.fromkeys(
    ("text_image_alignment", "style_consistency", "character_consistency", "image_quality", "overall"), 0
)


@pytest.fixture
def study(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "study"))


@pytest.fixture
def ledger(study: Path) -> Iterator[Ledger]:
    with open_ledger(study) as opened:
        yield opened


@pytest.fixture
def app(study: Path, ledger: Ledger) -> Any:
    return build_app(study, ledger, ADDRESS)


def rater(app: Any, study: Path, number: int = 0) -> tuple[TestClient, dict[str, Any]]:
    client = TestClient(app, base_url=ADDRESS)
    token = sorted(read_tokens(study).items())[number][1]
    assert client.post("/session", content=token).status_code == 204
    opened = client.get("/packet").json()
    client.headers["X-Form-Token"] = opened["form_token"]
    return client, opened


def vote(opened: dict[str, Any], position: int = 0, **changes: Any) -> dict[str, Any]:
    return {"trial": opened["packet"]["trials"][position]["trial"], "choices": CHOICES, "duration_ms": 5000} | changes


def test_a_vote_is_stored_once_and_resumed_from(app: Any, study: Path) -> None:
    client, opened = rater(app, study)
    assert client.post("/votes", json=vote(opened)).json() == {"stored": vote(opened)["trial"]}
    assert client.post("/votes", json=vote(opened)).status_code == 200, "the same again: its answer was lost"
    other = vote(opened, choices=CHOICES | {"overall": None})
    answer = client.post("/votes", json=other)
    assert (answer.status_code, answer.json()["error"]) == (409, "this set was answered before; an answer is final")
    (stored,) = read_votes(study)
    assert (stored.vote.choices, stored.source) == (CHOICES, "server")
    _, again = rater(app, study)
    assert again["answered"] == [vote(opened)["trial"]]


def test_nobody_is_answered_without_an_invitation(app: Any, study: Path) -> None:
    client = TestClient(app, base_url=ADDRESS)
    packet = next(iter(read_packets(study).values()))
    image = packet.trials[0].options[0]
    assert client.get("/packet").status_code == 401
    assert client.get(f"/images/{image}").status_code == 401
    assert client.post("/votes", json={}).status_code == 401
    assert client.post("/session", content="0" * 48).status_code == 403
    for forged in (packet.packet, f"{packet.packet}.", f"{packet.packet}.{'0' * 64}", "é", "." * 500):
        client.cookies.set("study", forged.encode("ascii", "ignore").decode())
        assert client.get("/packet").status_code == 401


def test_another_rater_s_packet_stays_closed(app: Any, study: Path) -> None:
    (client, opened), (_, other) = rater(app, study), rater(app, study, 1)
    trial = other["packet"]["trials"][0]
    own = opened["packet"]["trials"][0]["options"][0]
    assert client.get(f"/images/{own}").headers["content-type"] == "image/png"
    for name in (*trial["options"], *trial["characters"]):
        assert client.get(f"/images/{name}").status_code == 404
    assert client.post("/votes", json=vote(other)).status_code == 400
    assert client.post("/votes", json=vote(opened), headers={"X-Form-Token": other["form_token"]}).status_code == 403
    assert read_votes(study) == []


@pytest.mark.parametrize(
    "name",
    ["", "%2e%2e", "../packet.json", "..%2fpacket.json", "%2e%2e%2f%2e%2e%2finvitations.json", "/etc/passwd", "a" * 25,
     "..%5c..%5ckey.json", "%00", "0" * 24 + "%0a"],
)  # fmt: skip
def test_image_names_lead_nowhere_else(app: Any, study: Path, name: str) -> None:
    client, _ = rater(app, study)
    assert client.get(f"/images/{name}").status_code == 404
    assert client.get("/packets/").status_code == 404
    assert client.get("/key/key.json").status_code == 404


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trial": "0" * 24}, "no such set"),
        ({"trial": "../x"}, "trial: String should match pattern"),
        ({"choices": {}}, "expected an answer for each of character_consistency"),
        ({"choices": CHOICES | {"extra": 0}}, "and no other"),
        ({"choices": CHOICES | {"overall": 2}}, "expected places from 0 to 1"),
        ({"choices": CHOICES | {"overall": -1}}, "expected places from 0 to 1"),
        ({"choices": CHOICES | {"overall": True}}, "choices.overall"),
        ({"choices": CHOICES | {"overall": "0"}}, "choices.overall"),
        ({"duration_ms": -1}, "duration_ms"),
        ({"rater": "me"}, "rater: Extra inputs"),
    ],
)
def test_what_is_no_answer_is_refused_in_one_line(app: Any, study: Path, changes: Any, said: str) -> None:
    client, opened = rater(app, study)
    answer = client.post("/votes", json=vote(opened, **changes))
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert read_votes(study) == []


def test_large_bodies_are_refused_with_and_without_a_length(app: Any, study: Path) -> None:
    client, _ = rater(app, study)

    def parts() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 1024

    for path in ("/votes", "/session"):
        assert client.post(path, content=parts()).status_code == 413
        assert client.post(path, content=b" " * (MAX_BODY_BYTES + 1)).status_code == 413
    assert client.post("/votes", content=b"[" * 10_000).status_code == 400


def test_other_sites_and_names_are_not_answered(app: Any, study: Path) -> None:
    client, opened = rater(app, study)
    for origin in ("http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1:7870", "null"):
        assert client.post("/votes", json=vote(opened), headers={"origin": origin}).status_code == 403
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.post("/votes", json=vote(opened), headers={"X-Form-Token": ""}).status_code == 403
    assert client.post("/votes", json=vote(opened), headers={"origin": ADDRESS}).status_code == 200


def test_cookies_and_headers(study: Path, ledger: Ledger) -> None:
    for address, secure in ((ADDRESS, False), ("https://study.example.org", True)):
        client = TestClient(build_app(study, ledger, address), base_url=address)
        answer = client.post("/session", content=next(iter(read_tokens(study).values())))
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert ("secure" in cookie) == secure
        page = client.get("/")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert not re.search("https?:", page.text)
    for path in ("/docs", "/openapi.json", "/study.html", "/../server.py"):
        assert client.get(path).status_code == 404


def test_guessing_and_flooding_are_slowed_down(study: Path, ledger: Ledger) -> None:
    app = build_app(study, ledger, ADDRESS, Limits(wrong_tokens=(3, 0), requests=(4, 0)))
    client, _ = rater(app, study)
    assert [client.get("/packet").status_code for _ in range(4)] == [200, 200, 200, 429]
    guesser = TestClient(app, base_url=ADDRESS)
    assert [guesser.post("/session", content=f"{n:048x}").status_code for n in range(5)] == [403, 403, 403, 429, 429]


def test_a_limit_fills_up_again() -> None:
    now = 0.0
    limiter = Limiter(2, 0.5, clock=lambda: now)
    assert [limiter.spend("a") for _ in range(3)] == [True, True, False]
    now = 2.0
    assert (limiter.spend("a"), limiter.spend("a"), limiter.spend("b")) == (True, False, True)


def test_votes_at_the_same_moment_count_once(study: Path, ledger: Ledger) -> None:
    packet, *_ = read_packets(study).values()
    one = Vote(trial=packet.trials[0].trial, choices=CHOICES, duration_ms=1)
    other = one.replaced(duration_ms=2)

    async def race() -> list[bool]:
        counter = Counter(ledger)
        return await asyncio.gather(*(counter.keep(packet.packet, vote) for vote in (one, other, one, other)))

    assert asyncio.run(race()) == [True, False, True, False]
    assert [stored.vote for stored in read_votes(study)] == [one]


def test_a_full_disk_is_said_and_keeps_nothing(app: Any, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, opened = rater(app, study)
    assert client.post("/votes", json=vote(opened)).status_code == 200

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", full)
        assert client.post("/votes", json=vote(opened, 1)).status_code == 503
    assert len(read_votes(study)) == 1
    assert client.post("/votes", json=vote(opened, 1)).status_code == 200
    assert len(read_votes(study)) == 2


def test_the_ledger_is_for_one_process_and_cuts_a_torn_line(study: Path, app: Any, ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="in use by another process"), open_ledger(study):
        pass
    client, opened = rater(app, study)
    client.post("/votes", json=vote(opened))
    path = study / "votes" / "votes.jsonl"
    whole = path.read_bytes()
    copy = study.parent / "copy"
    for torn in (whole[:-1], whole + whole[:40], whole + b"\x00"):
        shutil.copytree(study, copy, dirs_exist_ok=True)
        (copy / "votes" / "votes.jsonl").write_bytes(torn)
        with open_ledger(copy) as reopened:
            assert len(reopened.votes) == torn.count(b"\n")
        assert (copy / "votes" / "votes.jsonl").read_bytes() == whole[: len(whole) * torn.count(b"\n")]
    for damaged, said in ((b"{}\n" + whole, "votes.jsonl:1: damaged"), (whole * 2, "votes.jsonl:2: a second vote")):
        (copy / "votes" / "votes.jsonl").write_bytes(damaged)
        with pytest.raises(ValueError, match=said), open_ledger(copy):
            pass


@pytest.mark.parametrize(
    ("host", "address", "said"),
    [("0.0.0.0", "", "expected --address"), ("127.0.0.1", "study.example.org", "expected a web address")],
)
def test_others_are_let_in_only_on_purpose(study: Path, host: str, address: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        serve(study, host, 0, address, print)
