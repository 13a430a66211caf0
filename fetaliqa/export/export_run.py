"""The export run: reads, selects, blanks, renames and writes cases; the result is complete or absent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fetaliqa.atomic import atomic_directory
from fetaliqa.case_names import file_names
from fetaliqa.datasets.labelled_data import CaseEntry
from fetaliqa.datasets.split_file import PARTS
from fetaliqa.datasets.splits import read_split, subject_split
from fetaliqa.errors import FetalIQAError, OptionError
from fetaliqa.export.data_card import NO_LICENCE, README, readme_text, software, write_card
from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.export_options import ExportOptions, check_places
from fetaliqa.export.export_report import ReportBuilder
from fetaliqa.export.export_source import ExportSource
from fetaliqa.export.formats.format_registry import writer_named
from fetaliqa.export.formats.format_writer import ExportContext
from fetaliqa.export.frame_selection import CONFIRMED, Selection
from fetaliqa.export.manifest import CSV_NAME, ManifestWriter, frame_row, measured, write_parquet
from fetaliqa.export.pseudonyms import Pseudonyms
from fetaliqa.export.sector_blanking import Preview, blank, sector_of
from fetaliqa.export.selected_frames import chosen_entries
from fetaliqa.export.selection_counts import Counts
from fetaliqa.sweep.frame_buffers import StackMemory, stacks_from

Progress = Callable[[int, int, int], None]  # cases done, cases in all, frames done
REPORT = "report.html"
MAX_THREADS = 4  # for encoding; more wait for the reader


def run_export(
    source: ExportSource,
    out: Path | None,
    selection: Selection,
    options: ExportOptions,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Export the selected frames.

    Args:
        source: the cases.
        out: folder to make; None only counts, and writes at most the preview.
        selection: which frames.
        options: of the export.
        progress: called after each case with cases done, cases in all and frames done.

    Returns:
        The data card as JSON values, without its time and checksums.

    Raises:
        OptionError: when ``out`` exists, nothing is selected, or an option cannot be met; nothing is written.
        FetalIQAError: when a case cannot be read.
    """
    check_places(out, options)
    return _Export(source, selection, options).run(out, progress)


class _Export:
    def __init__(self, source: ExportSource, selection: Selection, options: ExportOptions) -> None:
        self.source, self.selection, self.options = source, selection, options
        self.names = None if options.pseudonyms is None else Pseudonyms(options.pseudonyms)
        self.format = writer_named(options.format)
        self._check_format()
        self.entries = [entry for entry in source.entries() if selection.takes_case(entry.case_id)]
        self._check_cases()
        self.parts = self._split()
        public = [self._public(entry).case_id for entry in self.entries]
        self.file_names = file_names(public, ascii_only=self.format.ascii_names)
        self.counts = Counts()
        self.preview = Preview()
        self.report = ReportBuilder() if options.report else None
        self.whole_images: list[str] = []
        self.blanked_pixels = 0
        self.notes: list[str] = self._unusable()
        if self.names is not None:
            # the order of an export must not reveal the order of the names
            self.entries.sort(key=lambda entry: self._public(entry).case_id)

    def run(self, out: Path | None, progress: Progress | None) -> dict[str, Any]:
        """Count, and write when ``out`` is given."""
        with ExitStack() as stack:
            if out is None:
                for _ in self._selected(progress):
                    pass
                about = self._about([])
            else:
                root = stack.enter_context(atomic_directory(out))
                about = self._write(root, progress)
            if self.options.preview is not None:
                self.preview.write(self.options.preview)
            if self.names is not None and out is not None:
                self.names.save()  # before the export appears: no pseudonym without its key
        return about

    # -- parts --------------------------------------------------------------------------------------

    def _check_format(self) -> None:
        if self.selection.takes_proposals and not self.format.holds_proposals:
            raise OptionError(
                f"format {self.format.name} cannot mark unconfirmed frames; leave `proposed` out of the states"
            )

    def _check_cases(self) -> None:
        if self.selection.cases is not None:
            missing = sorted(set(self.selection.cases) - {entry.case_id for entry in self.entries})
            if missing:
                raise OptionError(f"{missing[0]}: no such case in {self.source.folder.name}; see `fetaliqa data`")

    def _unusable(self) -> list[str]:
        """A note on unusable cases, so that none is missing silently."""
        lost = [case_id for case_id in self.source.unusable() if self.selection.takes_case(case_id)]
        if not lost:
            return []
        named = "" if self.names is not None else f" ({', '.join(lost[:5])}{' ...' if len(lost) > 5 else ''})"
        return [
            f"left out: {len(lost)} cases whose files are missing or damaged, or whose label does not count"
            f"{named}; `fetaliqa data` says why"
        ]

    def _split(self) -> dict[str, str]:
        """Part of each case, by the source's names."""
        if not self.entries:
            return {}
        if self.options.split is None:
            split = subject_split(self.entries)
        else:
            split = read_split(self.options.split)
        parts = {case: part for part in PARTS for case in split.part(part)}
        lost = next((entry.case_id for entry in self.entries if entry.case_id not in parts), None)
        if lost is not None:
            raise OptionError(f"{lost} is in no part of the split; add it with `fetaliqa data split --extend`")
        return parts

    def _public(self, entry: CaseEntry) -> CaseEntry:
        if self.names is None:
            return entry
        return CaseEntry(self.names.case(entry.case_id), self.names.subject(entry.subject_id))

    def _selected(self, progress: Progress | None) -> Iterator[tuple[ExportCase, Any, str]]:
        """Cases that have selected frames, blanked and renamed, with their sector and part."""
        for done, (entry, case) in enumerate(self._read(), start=1):
            if case is not None:
                self.counts.offer(case)
                self.notes += [self._note(text, entry) for text in case.notes]
                chosen = chosen_entries(case, self.selection)
                if chosen or self.format.takes_empty_cases:
                    yield self._prepared(case.with_entries(chosen), entry)
            if progress is not None:
                progress(done, len(self.entries), self.counts.frames)
        if not self.counts.frames and not (self.format.takes_empty_cases and self.entries):
            raise OptionError(self._nothing_selected())

    def _read(self) -> Iterator[tuple[CaseEntry, ExportCase | None]]:
        """Cases in order; the next one is read while one is written."""
        memory = StackMemory()

        def read(entry: CaseEntry) -> ExportCase:
            with stacks_from(memory):
                return self.source.read(entry)

        with ThreadPoolExecutor(1) as reader:
            ahead: Future[ExportCase] | None = None
            for number, entry in enumerate(self.entries):
                current = ahead or reader.submit(read, entry)
                following = self.entries[number + 1 : number + 2]
                try:
                    case = current.result()
                except FetalIQAError as problem:
                    if not self.options.skip_unreadable:
                        raise
                    self.notes.append(self._note(f"left out: {problem}", entry))
                    case = None
                ahead = reader.submit(read, following[0]) if following else None
                del current
                yield entry, case
                del case  # else two cases would be in memory while a third is read

    def _prepared(self, case: ExportCase, entry: CaseEntry) -> tuple[ExportCase, Any, str]:
        part = self.parts[entry.case_id]
        sector, frames = sector_of(case), list(case.entries)
        if self.names is not None:
            case = self._renamed(case, entry)
        case = replace(case, file_name=self.file_names[case.case_id])
        if self.options.preview is not None and frames:
            self.preview.add(case, sector, frames)
        if self.options.blank:
            case, blanked = blank(case, sector, frames)
            self.blanked_pixels += blanked.lit
            if not blanked.share:
                self.whole_images.append(case.case_id)
        self.counts.add(case, part)
        return case, sector, part

    def _note(self, text: str, entry: CaseEntry) -> str:
        """A note without paths of this machine, and without the case's name where it has a pseudonym."""
        text = text.replace(f"{self.source.folder}{os.sep}", "")
        return text if self.names is None else text.replace(entry.case_id, self._public(entry).case_id)

    def _renamed(self, case: ExportCase, entry: CaseEntry) -> ExportCase:
        assert self.names is not None
        names, public = self.names, self._public(entry)
        entries = {
            frame: one if one.rater is None else replace(one, rater=names.rater(one.rater))
            for frame, one in case.entries.items()
        }
        raters = {names.rater(tag): labels for tag, labels in case.raters.items()}
        return replace(case, case_id=public.case_id, subject_id=public.subject_id, entries=entries, raters=raters)

    def _write(self, root: Path, progress: Progress | None) -> dict[str, Any]:
        with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
            context = ExportContext(
                root=root,
                anatomy=self.source.anatomy,
                classes=self.options.classes,
                part_of={self._public(entry).case_id: self.parts[entry.case_id] for entry in self.entries},
                synthetic=self.source.synthetic,
                pool=pool,
            )
            writer = self.format(context)
            doubtful = 0
            with closing(ManifestWriter(root)) as manifest:
                for case, sector, part in self._selected(progress):
                    places = writer.write_case(case)
                    sizes = context.each(partial(measured, case, sector), places)
                    doubtful += sum(bool(size.get("warning")) for size in sizes)
                    if self.report is not None:
                        self.report.add(case, dict(zip(places, sizes)))
                    manifest.write(
                        frame_row(case, frame, place, part, size)
                        for (frame, place), size in zip(places.items(), sizes)
                    )
            about = self._about(context.notes, context.labels()) | {"doubtful_circumferences": doubtful}
            writer.finish(about)
            about["notes"] = self._notes(context.notes)
            if self.report is not None:
                (root / REPORT).write_text(self.report.html(about), encoding="utf-8")
            if self.options.parquet:
                write_parquet(root)
            if not (root / README).exists():
                (root / README).write_text(readme_text(about), encoding="utf-8")
            write_card(root, about, context.each)
        return about

    def _about(self, notes: Sequence[str], labels: dict[str, int] | None = None) -> dict[str, Any]:
        service, options = self.source.service, self.options
        blanking = None
        if options.blank:
            blanking = {"lit_pixels": self.blanked_pixels, "whole_images": self.whole_images}
        return {
            "name": options.name,
            "format": options.format,
            "source": {
                "kind": self.source.name,
                "synthetic": self.source.synthetic,
                "anatomy": self.source.anatomy.name,
                "measurement": self.source.anatomy.measurement,
            },
            "licence": options.licence or self.source.licence or NO_LICENCE,
            "pseudonyms": self.names is not None,
            "blanking": blanking,
            "labels": labels or {},
            "model": None if service is None else service.model_info(),
            "software": software(),
            "selection": self._public_selection(),
            "counts": self.counts.to_json(),
            "notes": self._notes(notes),
        }

    def _public_selection(self) -> dict[str, Any]:
        """The selection, with pseudonyms where names were selected."""
        selection = self.selection.to_json()
        if self.names is not None:
            for key, rename in (("cases", self.names.case), ("raters", self.names.rater)):
                if selection[key] is not None:
                    selection[key] = sorted(map(rename, selection[key]))
        return selection

    def _notes(self, more: Sequence[str]) -> list[str]:
        notes = [*self.notes, *more]
        if self.whole_images:
            notes.append(
                f"no sector was found in {len(self.whole_images)} cases, whose whole image is lit, so nothing was "
                f"blanked there: check them ({', '.join(self.whole_images[:5])})"
            )
        others = [name for name, file in self.file_names.items() if name != file]
        if others:
            notes.append(
                f"the files of {len(others)} cases ({', '.join(others[:5])}) are not named after the case, whose "
                f"name the format or a file system does not allow; {CSV_NAME} lists the files of each case"
            )
        return list(dict.fromkeys(notes))

    def _nothing_selected(self) -> str:
        if not self.entries:
            return (
                f"{self.source.folder.name}: no case with a label to export; submit a label first, or check "
                "the folder with `fetaliqa data`"
            )
        offered = self.counts.offered
        there = (
            ", ".join(f"{number} {state}" for state, number in sorted(offered.items())) or "no frame with a label"
        )
        hint = "widen the selection"
        if offered["proposed"] and not any(offered[state] for state in CONFIRMED):
            hint = "they are not confirmed; add the state `proposed` to export predictions too"
        return f"nothing is selected; there are {there} in {len(self.entries)} cases: {hint}"
