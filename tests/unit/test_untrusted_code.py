"""What is said of a function that another role owns."""

from __future__ import annotations

from snapkit.core.copying.untrusted_code import Call


def test_calls_are_told() -> None:
    assert Call("CHECK c of t", "function f(int)", "o'b").describe() == (
        """CHECK c of t calls function f(int), which belongs to "o'b\""""
    )
    assert Call("CHECK c of t", "function random()", None).describe() == (
        "CHECK c of t calls function random(), which is not immutable"
    )
