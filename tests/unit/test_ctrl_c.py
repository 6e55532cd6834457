"""Ctrl-C does not cut short how a run ended, but a second one does; and what was to be ignored stays ignored."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from snapkit.cli.ctrl_c import HeldSignals, come_again, deferred, end_as_ctrl_c_does, uninterrupted
from snapkit.cli.main import main
from snapkit.processes import signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_ends_a_run_as_ctrl_c_does(number: signal.Signals) -> None:
    end_as_ctrl_c_does()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_one_does_not_cut_the_telling_short_and_the_second_does(number: signal.Signals) -> None:
    end_as_ctrl_c_does()
    told = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(number)
        told.append("how it ended")
        signal.raise_signal(number)
    assert told == ["how it ended"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_a_signal_that_was_to_be_ignored_stays_ignored() -> None:
    """As nohup has it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_as_ctrl_c_does()
    with uninterrupted():
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)


def test_what_is_deferred_comes_when_the_block_is_done_and_is_told_at_once() -> None:
    end_as_ctrl_c_does()
    told = []
    with pytest.raises(KeyboardInterrupt), deferred(lambda: told.append("it came")):
        signal.raise_signal(signal.SIGINT)
        told.append("the block is done")
    assert told == ["it came", "the block is done"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_second_one_is_not_deferred() -> None:
    told = []
    with pytest.raises(KeyboardInterrupt), deferred(lambda: None):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        told.append("not reached")
    assert told == []


def test_without_one_nothing_is_deferred_and_an_error_of_the_block_goes_before_it() -> None:
    with deferred(lambda: None):
        pass
    with pytest.raises(ValueError, match="lost"), deferred(lambda: None):
        signal.raise_signal(signal.SIGINT)
        raise ValueError("lost")


@pytest.mark.parametrize("number", signals.ALL)
def test_what_is_held_is_noted_and_raises_where_it_may(number: signal.Signals) -> None:
    end_as_ctrl_c_does()
    held = HeldSignals()
    with held.held():
        signal.raise_signal(number)
        with held.raising(but_for=1):
            signal.raise_signal(number)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        signal.raise_signal(number)
    assert held.came == [number] * 4


def test_one_that_comes_while_the_handlers_are_installed_is_taken_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end_as_ctrl_c_does()
    install = signal.signal
    comes = [signal.SIGINT]

    def install_and_be_hit(number: signal.Signals, handler: object) -> object:
        before = install(number, handler)  # type: ignore[arg-type]
        if number in comes and handler is not signal.default_int_handler:
            comes.clear()
            signal.raise_signal(number)
        return before

    monkeypatch.setattr(signal, "signal", install_and_be_hit)
    with uninterrupted():
        assert comes == []


def test_one_that_comes_when_all_is_told_is_not_told_besides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the handlers are given back: whoever reads the JSON is to find one document."""
    end_as_ctrl_c_does()
    install = signal.signal
    told: list[str] = []

    def give_back_and_be_hit(number: signal.Signals, handler: object) -> object:
        before = install(number, handler)  # type: ignore[arg-type]
        told.append(capsys.readouterr().out)
        if number == signal.SIGINT and told[-1]:
            signal.raise_signal(signal.SIGINT)
        return before

    monkeypatch.setattr(signal, "signal", give_back_and_be_hit)
    assert main(["show", "--json"]) == 2
    out = "".join(told) + capsys.readouterr().out
    assert json.loads(out)["error"]["code"] == "usage"


@pytest.mark.parametrize("early", [True, False])
def test_all_that_is_held_back_is_delivered_and_the_handlers_are_back(early: bool) -> None:
    taken: list[int] = []

    def take(number: int, frame: object) -> None:
        taken.append(number)
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        signal.signal(number, take)
    with pytest.raises(KeyboardInterrupt), signals.held_back() as let_come:
        for number in numbers:
            signal.raise_signal(number)
        assert taken == []
        if early:
            let_come()
    assert taken == list(numbers)
    assert {signal.getsignal(number) for number in numbers} == {take}


@pytest.mark.parametrize("early", [True, False])
def test_what_is_held_back_counts_as_the_one_that_is_taken(early: bool) -> None:
    """A handler that takes the first signal only is not put back when it has taken it: the second one comes through."""
    with uninterrupted():
        with signals.held_back() as let_come:
            if early:
                let_come()
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_one_that_python_would_forget_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised in whatever runs just then, a finalizer too; what that raises is told and forgotten."""

    class Interrupted:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    come_again()
    with pytest.raises(KeyboardInterrupt):
        Interrupted()
        threading.Event().wait(30)
    assert told == []


def test_whatever_else_a_finalizer_raises_is_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("no")

    told: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    come_again()
    Broken()
    assert [each.exc_type for each in told] == [ValueError]
