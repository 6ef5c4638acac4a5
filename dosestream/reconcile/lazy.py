"""Attributes computed at their first look: `functools.cached_property` without the lock it takes in Python 3.11.

Derivation is pure: computed twice by two threads a value would be the same.
"""

from collections.abc import Callable
from typing import Generic, Self, TypeVar, overload

S = TypeVar("S")
T = TypeVar("T")


class lazy(Generic[S, T]):  # noqa: N801 - a decorator, beside `property`
    """A method that becomes an attribute of the instance, which must have a `__dict__`."""

    def __init__(self, compute: Callable[[S], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type[S]) -> Self: ...
    @overload
    def __get__(self, instance: S, owner: type[S]) -> T: ...
    def __get__(self, instance: S | None, owner: type[S]) -> Self | T:
        if instance is None:
            return self
        value = self._compute(instance)
        # Found there before this descriptor from now on.
        instance.__dict__[self._name] = value
        return value
