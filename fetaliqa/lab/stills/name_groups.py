"""Names that belong together, directly or through others."""

from __future__ import annotations


class Groups:
    """Disjoint sets of names (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        """One name of the group that ``name`` is in; the same for all of the group."""
        parent = self._parent.setdefault(name, name)
        while parent != self._parent[parent]:
            self._parent[parent] = parent = self._parent[self._parent[parent]]
        self._parent[name] = parent
        return parent

    def join(self, one: str, other: str) -> None:
        """Make the groups of two names one."""
        self._parent[self.root(one)] = self.root(other)
