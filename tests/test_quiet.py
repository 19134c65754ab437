from __future__ import annotations

import threading
import warnings

import pytest

from recoder._quiet import quiet


def test_warnings_are_ignored_in_the_block_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet():
            warnings.warn("nobody hears this", stacklevel=1)
        with quiet(UserWarning), pytest.raises(DeprecationWarning):
            warnings.warn("others are heard", DeprecationWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="heard again"):
            warnings.warn("heard again", stacklevel=1)


def test_blocks_of_several_threads_leave_the_filters_as_they_were() -> None:
    before, entered = list(warnings.filters), threading.Event()

    def another() -> None:
        with quiet():
            entered.set()

    with quiet():
        thread = threading.Thread(target=another)
        thread.start()
        assert not entered.wait(0.1)  # or else it would bring back the filters of this block
    thread.join()
    assert entered.is_set()
    assert list(warnings.filters) == before
