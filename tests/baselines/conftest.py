"""The small world and the encoders of the training stages' tests, for the compared methods."""

from tests.training.conftest import conditioning, experiment, one_thread, world  # noqa: F401
