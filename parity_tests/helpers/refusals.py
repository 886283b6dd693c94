"""Assertion that a reader refuses a file, and how much memory it takes for that."""

import tracemalloc

import pytest


def refuses(call, *fragments):
    """Assert that `call` raises a one-line ValueError with the fragments, and return the peak."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:
            call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message, message
    return peak
