"""Whatever a decoder does to its process, the caller gets a result or a refusal, and goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from diffsensei.data.refusal import Refusal
from diffsensei.data.sandbox import Limits, Sandbox
from tests.data import poison


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(Limits(memory_mb=256, cpu_s=1, wall_s=60.0))
    yield sandbox
    sandbox.close()


def test_one_child_serves_many_items(sandbox: Sandbox) -> None:
    children = {sandbox.run(poison.process_id) for _ in range(5)}
    assert len(children) == 1
    assert os.getpid() not in children
    assert [sandbox.run(poison.double, number) for number in range(3)] == [0, 2, 4]


def test_threads_get_a_child_each(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda number: sandbox.run(poison.double, number), range(50))) == list(range(0, 100, 2))


@pytest.mark.parametrize(
    ("function", "reason", "evidence"),
    [
        (poison.segfault, "decoder_died", "SIGSEGV"),
        (poison.abort, "decoder_died", "SIGABRT"),
        (poison.be_killed, "decoder_died", "SIGKILL"),
        (poison.leave, "decoder_died", "exit code 3"),
        (poison.spin, "decoder_timeout", "1 s of processor time"),
        (poison.eat_memory, "decoder_out_of_memory", "256 MB"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_poison_is_refused_and_the_next_item_served(
    sandbox: Sandbox, function: Callable[[], object], reason: str, evidence: str
) -> None:
    with pytest.raises(Refusal) as caught:
        sandbox.run(function)
    assert caught.value.reason == reason
    assert evidence in caught.value.evidence
    assert caught.value.state == "quarantined"
    assert sandbox.run(poison.double, 21) == 42


def test_what_waits_without_working_is_ended_too() -> None:
    sandbox = Sandbox(Limits(wall_s=0.5))
    with pytest.raises(Refusal, match="decoder_timeout") as caught:
        sandbox.run(poison.sleep)
    assert caught.value.evidence == "no answer within 0.5 s"


def test_time_is_counted_anew_for_each_item() -> None:
    sandbox = Sandbox(Limits(cpu_s=1))
    first = sandbox.run(poison.process_id)
    for _ in range(3):
        sandbox.run(sum, range(10**7))  # some 0.2 s each, so more than the limit in all on a slow machine
    assert sandbox.run(poison.process_id) == first
    sandbox.close()


def test_exceptions_pass_through_and_keep_the_child(sandbox: Sandbox) -> None:
    before = sandbox.run(poison.process_id)
    with pytest.raises(Refusal, match="broken_image"):
        sandbox.run(poison.refuse)
    with pytest.raises(KeyError, match="absent"):
        sandbox.run(poison.fail)
    assert sandbox.run(poison.process_id) == before


def test_children_end_with_a_killed_owner() -> None:
    program = (
        "from diffsensei.data.sandbox import Limits, Sandbox; from tests.data import poison; import time\n"
        "print(Sandbox(Limits()).run(poison.process_id), flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(child):
        time.sleep(0.05)
    assert not _runs(child)


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
