"""Matching of picture names to cases and frames, as annotation tools change the names.

Exported pictures are called ``CASE_FRAME``. Tools prepend folders (``images/default/``, ``job_12/``, also with
backslashes), Label Studio eight hexadecimal digits and a dash, and some percent-encode names or decompose Unicode.
All interpretations of a name are compared with the existing cases; a match must be unique.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from fetaliqa.errors import LabelError, OptionError

CASE_FRAME = re.compile(r"(?P<case>.+)_(?P<frame>[0-9]{1,6})(?P<proposed>_proposed)?")
NUMBERED = re.compile(r"(?:.*[^0-9A-Za-z])?[A-Za-z]*?(?P<frame>[0-9]{1,6})(?P<proposed>_proposed)?")
ONLY_NUMBERED = re.compile(r"(?:frame|image|img|slice)?[_-]?(?P<frame>[0-9]{1,6})", re.IGNORECASE)
LABEL_STUDIO = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file
SUFFIX = re.compile(r"(?<=.)(\.seg\.nrrd|\.nii\.gz|\.[a-z][a-z0-9]{1,5})$", re.IGNORECASE)
FIELDS = ("case", "frame", "label")


@dataclass(frozen=True)
class Place:
    """The case and frame that a name refers to.

    Attributes:
        case_id: case; a missing one when no existing case fits.
        frame: number from 0; None for the whole stack of the case, or its only frame.
        proposed: whether the name marks it as unconfirmed.
        label: name of the class, where the pattern has a place for it.
    """

    case_id: str
    frame: int | None
    proposed: bool = False
    label: str | None = None


class AmbiguousName(LabelError):
    """A name that fits several existing frames.

    Attributes:
        cases: whose frames they are.
    """

    def __init__(self, name: str, places: Iterable[Place]) -> None:
        readings = sorted(
            place.case_id if place.frame is None else f"frame {place.frame} of {place.case_id}" for place in places
        )
        super().__init__(f"{name}: may mean {' or '.join(readings)}; give --pattern or --case")
        self.cases = sorted({place.case_id for place in places})


class FrameNames:
    """Interprets picture names.

    Args:
        cases: existing cases.
        case: the case of all names; None: it is part of the name.
        pattern: how names are made: a template (``{case}_{frame}.png``; ``*`` is anything) or a regular expression
            with groups ``case`` and ``frame`` (stacks have no frame); compared with the last part of a name and
            with all of it. None: as
            exports of this software and annotation tools name pictures.
        first_frame: number of the first frame in names: 0, or 1 where people count from 1.
        aliases: case by another name that files are called after it.

    Raises:
        OptionError: when the pattern cannot be used.
    """

    def __init__(
        self,
        cases: Iterable[str] = (),
        *,
        case: str | None = None,
        pattern: str | None = None,
        first_frame: int = 0,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._cases = set(cases)
        self._known: dict[str, set[str]] = {}
        for name in self._cases:
            self._known.setdefault(_composed(name), set()).add(name)
        for alias, name in (aliases or {}).items():
            self._known.setdefault(_composed(alias), set()).add(name)
        self._case = case
        self._pattern = None if pattern is None else compiled(pattern)
        self._first = first_frame
        if self._pattern is not None and case is None and "case" not in self._pattern.groupindex:
            raise OptionError(f"--pattern {pattern!r} has no field for the case; add {{case}}, or --case ID")

    def place(self, name: str, *, whole: bool = False) -> Place | None:
        """The case and frame that a name refers to.

        Args:
            name: of a picture or file, with folders or without.
            whole: whether it may be a file of one whole case, so that a name without a frame is the case.

        Returns:
            None when it names no case, or another case than ``case``.

        Raises:
            AmbiguousName: when it fits several cases, or several frames of one.
            LabelError: when its frame number cannot be.
        """
        readings = set(self._matched(name) if self._pattern is not None else self._read(name, whole))
        matching = {place for place in readings if place.case_id in self._cases}
        if len(matching) > 1:
            raise AmbiguousName(name, matching)
        if matching:
            return matching.pop()
        if self._case is not None:
            return None
        if self._pattern is not None:
            return min(readings, key=lambda place: place.case_id, default=None)
        stem = SUFFIX.sub("", _written(name)[-1][-1])
        if whole:
            return Place(stem, None)
        named = CASE_FRAME.fullmatch(stem)
        return None if named is None else self._place(named["case"], named)

    def _read(self, name: str, whole: bool) -> Iterator[Place]:
        """Interpretations of a name in the usual formats."""
        for parts in _written(name):
            stem = SUFFIX.sub("", parts[-1])
            for one in {stem, LABEL_STUDIO.sub("", stem, count=1)}:
                yield from self._usual(one, parts[-2] if len(parts) > 1 else "", whole)

    def _usual(self, stem: str, folder: str, whole: bool) -> Iterator[Place]:
        matches = []
        named = CASE_FRAME.fullmatch(stem)
        if named:
            matches += [(case, named) for case in self._called(named["case"])]
        number = ONLY_NUMBERED.fullmatch(stem)
        if number:
            matches += [(case, number) for case in self._known.get(_composed(folder), ())]
        readings = [self._place(case, match) for case, match in matches]
        readings += [Place(case, None) for case in self._known.get(_composed(stem), ())]
        if self._case is None:
            yield from readings
        elif {place.case_id for place in readings if place.case_id in self._cases} <= {self._case}:
            mine = [place for place in readings if place.case_id == self._case]
            numbered = None if whole else NUMBERED.fullmatch(stem)  # "Segmentation_1" is of no frame
            yield from mine or [self._place(self._case, numbered) if numbered else Place(self._case, None)]

    def _called(self, name: str) -> Iterable[str]:
        """Cases of this name; the name itself when there is none."""
        return self._known.get(_composed(name)) or {name}

    def _place(self, case: str, match: re.Match[str]) -> Place:
        groups = match.groupdict()
        frame = groups.get("frame")
        number = None if frame is None else int(frame) - self._first
        if number is not None and number < 0:
            raise LabelError(f"{match.string}: frame {frame}, but --first-frame says that names count from 1")
        return Place(case, number, groups.get("proposed") is not None, groups.get("label"))

    def _matched(self, name: str) -> Iterator[Place]:
        """Interpretations of a name by the pattern."""
        assert self._pattern is not None
        for parts in _written(name):
            stems = [parts[-1], LABEL_STUDIO.sub("", parts[-1], count=1), "/".join(parts)]
            for text in [*stems, *(SUFFIX.sub("", stem) for stem in stems)]:
                match = self._pattern.fullmatch(text)
                groups = {} if match is None else match.groupdict()
                frame = groups.get("frame")
                if match is None or (frame is not None and not re.fullmatch("[0-9]{1,6}", frame)):
                    continue
                for case in self._called(groups.get("case") or self._case or ""):
                    if self._case in (None, case):
                        yield self._place(case, match)


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern for names as a regular expression.

    Raises:
        OptionError: when it is none, or has no place for case or frame.
    """
    written = pattern
    if "(?P<" not in pattern:
        parts = re.split(r"(\{[^{}]*\}|\*)", pattern)
        written = "".join(_part(part, pattern) for part in parts)
    try:
        regex = re.compile(written, re.IGNORECASE)
    except re.error as problem:
        raise OptionError(f"--pattern {pattern!r} is no regular expression ({problem})") from None
    if not set(regex.groupindex) <= set(FIELDS) or not set(regex.groupindex) & {"case", "frame"}:
        raise OptionError(f"--pattern {pattern!r}: its fields must be case, frame or both, and maybe label")
    return regex


def _part(part: str, pattern: str) -> str:
    if part == "*":
        return ".*"
    if not part.startswith("{"):
        return re.escape(part)
    if part[1:-1] not in FIELDS:
        raise OptionError(f"--pattern {pattern!r}: {part} is not known; {{case}}, {{frame}}, {{label}} and * are")
    return f"(?P<{part[1:-1]}>{'[0-9]{1,6}' if part == '{frame}' else '.+'})"


def _written(name: str) -> list[list[str]]:
    """Parts of a path or address, in each possible interpretation, without duplicates."""
    variants: list[list[str]] = []
    for text in (name, _of_address(name)):
        for one in (text, unquote(text)):
            for parts in (one.split("/"), re.split(r"[/\\]", one)):
                parts = [_composed(part) for part in parts if part]
                if parts and parts not in variants:
                    variants.append(parts)
    return variants


def _of_address(name: str) -> str:
    """The path in an address; Label Studio has that of a file on its disk behind ``?d=``."""
    if "?" not in name and "://" not in name:
        return name
    try:
        address = urlsplit(name)
    except ValueError:
        return name
    return parse_qs(address.query).get("d", [address.path])[0]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
