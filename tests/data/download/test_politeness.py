"""What a host sees of any number of downloaders together: never more than was agreed, in any one second."""

import pytest

from tests.benchmarks.politeness import observe

REQUESTS_PER_S = 20
SECONDS = 3.0


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [1, 2, 4])
def test_no_second_holds_more_requests_than_agreed(num_processes: int) -> None:
    seen = observe(num_processes, REQUESTS_PER_S, SECONDS)
    assert seen.most_in_a_second <= REQUESTS_PER_S
    assert seen.reached >= 0.6 * REQUESTS_PER_S, "polite, not idle"


@pytest.mark.slow
def test_one_of_them_is_killed() -> None:
    seen = observe(3, REQUESTS_PER_S, SECONDS, kill_one=True)
    assert seen.most_in_a_second <= REQUESTS_PER_S
    assert seen.reached >= 0.6 * REQUESTS_PER_S, "the others go on"
