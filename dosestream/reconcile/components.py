"""Connected components of hashable things: what belongs together, whatever order the pairs came in."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Components(Generic[T]):
    """A union-find forest."""

    def __init__(self) -> None:
        self._parent: dict[T, T] = {}

    def find(self, item: T) -> T:
        """The representative of an item's component; an item never seen is its own."""
        parent = self._parent
        root = parent.setdefault(item, item)
        while parent[root] != root:
            root = parent[root]
        while parent[item] != root:
            parent[item], item = root, parent[item]
        return root

    def join(self, items: Iterable[T]) -> None:
        """Put all the items into one component."""
        roots = [self.find(item) for item in items]
        for root in roots[1:]:
            self._parent[root] = self.find(roots[0])
