"""A mixture of labelled data sets for joint training; each is prepared and cached separately."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fetaliqa.datasets.labelled_data import CaseEntry, LabelledCase, LabelledData
from fetaliqa.errors import NotFoundError, OptionError
from fetaliqa.measure.anatomy import Anatomy


@dataclass(frozen=True)
class Source:
    """One data set of a mixture.

    Attributes:
        name: put before the ids of its cases: ``NAME/CASE``.
        data: the data set.
        group: sources of one group share their part of every batch; all groups have equal parts.
    """

    name: str
    data: LabelledData
    group: int


class Mixture:
    """Data sets as one: a ``LabelledData`` whose frames are prepared source by source.

    The prepared frames of a source are reused whatever the other sources are.

    Args:
        sources: with different names; the first gives name and anatomy of the mixture.

    Raises:
        OptionError: when they outline different anatomies.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = {source.name: source for source in sources}
        first = sources[0].data
        for source in sources:
            if source.data.anatomy.name != first.anatomy.name:
                raise OptionError(
                    f"{source.data.name} outlines the {source.data.anatomy.name}, {first.name} the "
                    f"{first.anatomy.name}; train them apart"
                )
        self.name = first.name
        self.anatomy: Anatomy = first.anatomy
        self.synthetic = all(source.data.synthetic for source in sources)

    def entries(self) -> list[CaseEntry]:
        return [
            CaseEntry(f"{name}/{entry.case_id}", f"{source.group}/{entry.subject_id}")
            for name, source in self.sources.items()
            for entry in source.data.entries()
        ]

    def read(self, case_id: str) -> LabelledCase:
        source, own = self._place(case_id)
        return source.data.read(own)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name, source in sorted(self.sources.items()):
            digest.update(f"{name} {source.group} {source.data.fingerprint()}\n".encode())
        return digest.hexdigest()

    def chosen(self, case_ids: Sequence[str]) -> Iterator[tuple[Source, list[str]]]:
        """The sources of some cases, and each one's own names of them; in the order of the sources."""
        wanted: dict[str, list[str]] = {}
        for case_id in case_ids:
            source, own = self._place(case_id)
            wanted.setdefault(source.name, []).append(own)
        for name, source in self.sources.items():
            if name in wanted:
                yield source, wanted[name]

    def _place(self, case_id: str) -> tuple[Source, str]:
        name, slash, own = case_id.rpartition("/")
        if not slash or name not in self.sources:
            raise NotFoundError(f"{case_id}: no such case; cases are named SOURCE/CASE")
        return self.sources[name], own
