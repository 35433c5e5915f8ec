from diffsensei.seeding import numpy_stream, stream_seed


def test_streams_are_named_not_ordered():
    first = numpy_stream(0, "layout", 3).random()
    numpy_stream(0, "other").random(100)
    assert numpy_stream(0, "layout", 3).random() == first


def test_seed_purpose_and_index_all_matter():
    seeds = {stream_seed(0, "a", 1), stream_seed(1, "a", 1), stream_seed(0, "b", 1), stream_seed(0, "a", 2)}
    assert len(seeds) == 4


def test_a_stream_never_changes():
    assert stream_seed(0, "layout", 3) == 9114739381783082231
