"""A check whose finding a person must see; light, so that the command line can name it."""


class MetricsMoved(RuntimeError):
    """A metric gives another figure for the same pictures under the same definition."""
