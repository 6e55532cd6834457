"""Classes of values: what ``dataclass(frozen=True, slots=True)`` makes of a class, at a fraction of its cost.

``dataclasses`` writes and compiles the methods of each class anew: about a millisecond a class, and a command begins
with over a hundred. Here it is asked for the fields and the slots alone, for which it compiles next to nothing, and the
methods are closures. A type checker sees the standard library's own, and ``fields`` and ``replace`` take what is made
for one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import total_ordering
from typing import TYPE_CHECKING, Any, NoReturn

Fields = tuple[dataclasses.Field[Any], ...]
Methods = dict[str, Callable[..., Any]]


def _made_quickly(*, frozen: bool, slots: bool, order: bool = False) -> Callable[[type], type]:
    """Return what makes a class one of values. Raises TypeError for what is left to ``dataclasses.dataclass``."""
    if not (frozen and slots):
        raise TypeError("a value is frozen and has slots")

    def decorate(cls: type) -> type:
        if own := _MADE & vars(cls).keys():
            raise TypeError(f"a value has no {', '.join(sorted(own))} of its own")
        cls.__doc__ = cls.__doc__ or cls.__name__  # else its signature is written, which takes as long as all else
        cls = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
        fields = dataclasses.fields(cls)
        if not all(field.init and not field.kw_only for field in fields):
            raise TypeError("a value is made of all its fields, in their order")
        methods = _making(fields, getattr(cls, "__post_init__", None)) | _comparing(fields, order=order) | _FROZEN
        for name, method in methods.items():
            setattr(cls, name, method)
        return total_ordering(cls) if order else cls

    return decorate


def _making(fields: Fields, prepare: Callable[[Any], None] | None) -> Methods:
    names = [field.name for field in fields]
    shown = [field.name for field in fields if field.repr]
    put = object.__setattr__

    def init(self: Any, *given: Any, **named: Any) -> None:
        for name, value in zip(names, given, strict=False):
            put(self, name, value)
        for field in fields[len(given) :]:
            put(self, field.name, named.pop(field.name) if field.name in named else _default(self, field))
        if named or len(given) > len(fields):
            more = ", ".join(named) or f"{len(given)} values"  # not which: there may be a password among them
            raise TypeError(f"{type(self).__name__}, of {len(fields)} fields, is not made of {more}")
        if prepare is not None:
            prepare(self)

    def show(self: object) -> str:
        said = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({said})"

    def reduce(self: object) -> tuple[type, tuple[Any, ...]]:
        return type(self), _taken(self, names)

    return {"__init__": init, "__repr__": show, "__reduce__": reduce}


def _default(self: object, field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise TypeError(f"{type(self).__name__} lacks {field.name!r}")


def _comparing(fields: Fields, *, order: bool) -> Methods:
    compared = [field.name for field in fields if field.compare]
    hashed = [field.name for field in fields if (field.compare if field.hash is None else field.hash)]

    def equal(self: object, other: object) -> bool:
        return _taken(self, compared) == _taken(other, compared) if type(other) is type(self) else NotImplemented

    def less(self: object, other: object) -> bool:
        return _taken(self, compared) < _taken(other, compared) if type(other) is type(self) else NotImplemented

    def hashing(self: object) -> int:
        return hash(_taken(self, hashed))

    methods: Methods = {"__eq__": equal, "__hash__": hashing}
    return methods | {"__lt__": less} if order else methods


def _taken(self: object, names: list[str]) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in names])


def _set(self: object, name: str, value: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: object, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_FROZEN = {"__setattr__": _set, "__delattr__": _delete}
_MADE = {"__init__", "__repr__", "__reduce__", "__eq__", "__hash__", "__lt__", *_FROZEN}

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    dataclass = _made_quickly
