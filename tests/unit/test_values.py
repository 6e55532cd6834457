"""What makes values for us makes of a class what the standard library makes of it."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import operator
import pickle
import pkgutil
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest

import snapkit
from snapkit.core import values

Maker = Callable[..., Any]


class _Fields:
    """All that our values make use of."""

    name: str
    size: int | None = None
    tags: tuple[str, ...] = ()
    secret: str = dataclasses.field(default="hidden", repr=False)
    note: str = dataclasses.field(default="", compare=False)
    found: dict[str, int] = dataclasses.field(default_factory=dict, hash=False)
    of_all: ClassVar[str] = "shared"

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 0:
            raise ValueError("negative")

    @property
    def doubled(self) -> int:
        return 2 * (self.size or 0)


def _made(make: Maker, **more: bool) -> Any:
    own = {name: given for name, given in vars(_Fields).items() if name not in ("__dict__", "__weakref__")}
    return _made_of(make, own, **more)


def _made_of(make: Maker, own: dict[str, Any], **more: bool) -> Any:
    return make(frozen=True, slots=True, **more)(type("Sample", (), own))


Theirs, Ours = _made(dataclasses.dataclass, order=True), _made(values.dataclass, order=True)


@values.dataclass(frozen=True, slots=True)
class Kept:
    """A value that can be pickled: found by its name."""

    name: str
    found: dict[str, int] = dataclasses.field(default_factory=dict)


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("a",), {}),
    (("a", 1, ("x", "y")), {}),
    (("a",), {"size": 2, "secret": "s3cret", "found": {"x": 1}}),
    ((), {"name": "a", "note": "n", "tags": ("z",)}),
    (("a", None, (), "s", "n", {}), {}),
    ((), {}),
    ((), {"size": 1}),
    (("a",), {"name": "b"}),
    (("a",), {"unheard_of": 1}),
    (("a", 1, (), "s", "n", {}, "more"), {}),
    (("a", -1), {}),
]


def _outcome(work: Callable[[], object]) -> Any:
    """What came of it; an error by its kind."""
    try:
        return work()
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(("given", "named"), CALLS)
def test_a_value_is_made_and_shown_in_the_same_way(given: tuple[Any, ...], named: dict[str, Any]) -> None:
    ours = _outcome(lambda: repr(Ours(*given, **named)))
    assert ours == _outcome(lambda: repr(Theirs(*given, **named)))
    assert "s3cret" not in str(ours)


VALUES: list[tuple[Any, ...]] = [
    ("a",),
    ("a", 1),
    ("a", 1, ("x",)),
    ("b", 0),
    ("a", 1, (), "other"),
    ("a", 1, (), "hidden", "noted"),
    ("a", 1, (), "hidden", "", {"x": 1}),
]


@pytest.mark.parametrize("one", VALUES)
@pytest.mark.parametrize("other", VALUES)
def test_values_are_compared_and_hashed_in_the_same_way(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    def told(made: Any) -> list[object]:
        a, b = made(*one), made(*other)
        orders = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
        return [*(_outcome(partial(compare, a, b)) for compare in orders), hash(a) == hash(b)]

    assert told(Ours) == told(Theirs)


@pytest.mark.parametrize("given", [{"more": "s3cret"}, {}])
def test_what_is_too_much_is_not_shown(given: dict[str, str]) -> None:
    with pytest.raises(TypeError) as caught:
        Ours("a", 1, (), "s3cret", "n", {}, *([] if given else ["s3cret"]), **given)
    assert "Sample, of 6 fields" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_value_is_like_none_of_another_class() -> None:
    for made, make in ((Ours, values.dataclass), (Theirs, dataclasses.dataclass)):
        assert made("a") != ("a", None, (), "hidden", {})
        assert made("a") != _made(make)("a")
        assert made("a") != type("Below", (made,), {})("a")
        with pytest.raises(TypeError):
            made("a") < Kept("a")  # noqa: B015


def test_without_order_there_is_none() -> None:
    for made in (_made(dataclasses.dataclass), _made(values.dataclass)):
        with pytest.raises(TypeError):
            made("a") < made("b")  # noqa: B015


def test_a_value_stays_as_it_is() -> None:
    for made in (Ours, Theirs):
        value = made("a")
        for change in (
            partial(setattr, value, "name", "b"),
            partial(setattr, value, "unheard_of", "b"),
            partial(delattr, value, "name"),
        ):
            assert issubclass(_outcome(change), (dataclasses.FrozenInstanceError, TypeError))
        assert (value.name, value.doubled, value.of_all) == ("a", 0, "shared")
        assert not hasattr(value, "__dict__")


def test_what_the_standard_library_does_with_values() -> None:
    for made in (Ours, Theirs):
        value = made("a", 1, note="n")
        assert [field.name for field in dataclasses.fields(value)] == [
            "name",
            "size",
            "tags",
            "secret",
            "note",
            "found",
        ]
        assert dataclasses.replace(value, size=2) == made("a", 2)
        with pytest.raises(ValueError, match="negative"):
            dataclasses.replace(value, size=-1)
        assert dataclasses.asdict(value)["note"] == "n"
        assert copy.copy(value) == value
        match value:
            case made(name, size):
                assert (name, size) == ("a", 1)


def test_copies() -> None:
    value = Kept("a", {"x": 1})
    for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert again == value
        assert again is not value


@pytest.mark.parametrize("left", [{"frozen": False}, {"slots": False}])
def test_what_is_no_value_is_left_to_the_standard_library(left: dict[str, bool]) -> None:
    with pytest.raises(TypeError, match="frozen and has slots"):
        _made(lambda **given: values.dataclass(**(given | left)))


@pytest.mark.parametrize("name", ["__init__", "__repr__", "__eq__", "__hash__", "__lt__", "__setattr__"])
def test_a_method_of_the_class_s_own_is_not_put_aside_silently(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        _made_of(values.dataclass, {"__annotations__": {"url": str}, name: lambda self: "masked"})


@pytest.mark.parametrize("left", [{"init": False, "default": 1}, {"kw_only": True}])
def test_a_field_that_is_not_given_in_its_place_is_refused(left: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="in their order"):
        _made_of(values.dataclass, {"__annotations__": {"name": str}, "name": dataclasses.field(**left)})


def test_all_of_ours_that_have_slots_are_made_so() -> None:
    """One made by the standard library costs a millisecond at each start, and nobody would notice which.

    Those without slots are two, which keep what they have worked out.
    """
    names = [each.name for each in pkgutil.walk_packages(snapkit.__path__, "snapkit.") if "__main__" not in each.name]
    classes = [
        found
        for name in names
        for _, found in inspect.getmembers(importlib.import_module(name), inspect.isclass)
        if found.__module__ == name and dataclasses.is_dataclass(found)
    ]
    frozen = [found for found in classes if found.__setattr__ is not object.__setattr__ and "__slots__" in vars(found)]
    assert len(frozen) > 100
    assert not [found for found in frozen if found.__dataclass_params__.frozen]  # type: ignore[attr-defined]
