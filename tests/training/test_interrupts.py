from __future__ import annotations

import signal
import threading

import pytest

from recoder.training.interrupts import finish_step_on_interrupt

pytestmark = pytest.mark.usefixtures("python_handles_interrupts")


def test_an_interrupt_waits_for_the_end_of_the_step():
    steps = []
    with pytest.raises(KeyboardInterrupt), finish_step_on_interrupt() as raise_if_interrupted:  # noqa: PT012
        for step in range(3):
            raise_if_interrupted()
            if step == 1:
                signal.raise_signal(signal.SIGINT)
            steps.append(step)
    assert steps == [0, 1]


def test_a_second_interrupt_is_raised_at_once():
    reached = []
    with pytest.raises(KeyboardInterrupt), finish_step_on_interrupt():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        reached.append("after the first")
        signal.raise_signal(signal.SIGINT)
        reached.append("after the second")
    assert reached == ["after the first"]


def test_what_must_not_be_torn_is_finished_even_then():
    reached = []
    with pytest.raises(KeyboardInterrupt), finish_step_on_interrupt() as interrupt:  # noqa: PT012
        with interrupt.unbroken():
            signal.raise_signal(signal.SIGINT)
        reached.append("after the first")
        with interrupt.unbroken():
            signal.raise_signal(signal.SIGINT)
            reached.append("the whole block")
        reached.append("after the second")
    assert reached == ["after the first", "the whole block"]


def test_the_first_says_how_not_to_wait(caplog):
    with pytest.raises(KeyboardInterrupt), finish_step_on_interrupt():
        signal.raise_signal(signal.SIGINT)
    assert "interrupt once more not to wait" in caplog.text


def test_an_interrupt_in_the_last_step_is_raised_at_the_end():
    reached = []
    with pytest.raises(KeyboardInterrupt), finish_step_on_interrupt():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        reached.append("end of the block")
    assert reached == ["end of the block"]


def test_an_error_of_the_block_is_not_hidden_by_an_interrupt():
    with pytest.raises(ZeroDivisionError), finish_step_on_interrupt():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError


def test_without_an_interrupt_nothing_happens_and_the_handler_is_put_back():
    with finish_step_on_interrupt() as raise_if_interrupted:
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        raise_if_interrupted()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_handler_is_put_back_after_an_error():
    with pytest.raises(ZeroDivisionError), finish_step_on_interrupt():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_somebody_else_is_left_in_place():
    noted = []

    def own(signum, frame):
        noted.append(signum)

    signal.signal(signal.SIGINT, own)
    with finish_step_on_interrupt() as raise_if_interrupted:
        assert signal.getsignal(signal.SIGINT) is own
        signal.raise_signal(signal.SIGINT)
        assert not raise_if_interrupted.pending
    assert noted == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is own


def test_outside_the_main_thread_nothing_is_installed():
    seen = []

    def work():
        with finish_step_on_interrupt() as raise_if_interrupted:
            seen.append(signal.getsignal(signal.SIGINT))
            raise_if_interrupted()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
