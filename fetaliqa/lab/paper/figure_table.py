"""A table of figures as Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fetaliqa.atomic import write_json, write_text
from fetaliqa.evaluation.bootstrap import over_trials

NOT_RUN = "not run"
EMPTY = "-"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: shown text.
        mean, std: its value, if numeric.
        trials: number of trials of the mean.
    """

    text: str
    mean: float | None = None
    std: float | None = None
    trials: int | None = None


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Attributes:
        name: short name, for files.
        title: one line.
        columns: heading by column key, in order.
        parts: keys of the columns of each Markdown table; the first key of ``columns`` begins each.
        rows: cells by column key; a missing one is empty.
        not_run: reason by row label.
        notes: notes for the reader, one sentence each.
    """

    name: str
    title: str
    columns: dict[str, str]
    parts: tuple[tuple[str, ...], ...]
    rows: tuple[dict[str, Cell], ...]
    not_run: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_markdown(self, heading: str = "##", known_notes: Container[str] = ()) -> str:
        """The title, one Markdown table per part, then the reasons, and the notes not in ``known_notes``."""
        lines = [f"{heading} {self.title}", ""]
        for part in self.parts:
            keys = [next(iter(self.columns)), *part]
            lines.append("| " + " | ".join(_escaped(self.columns[key]) for key in keys) + " |")
            lines.append("|" + "---|" * len(keys))
            for row in self.rows:
                lines.append("| " + " | ".join(_escaped(row.get(key, Cell(EMPTY)).text) for key in keys) + " |")
            lines.append("")
        lines += [f"- {label}: {NOT_RUN}: {reason}" for label, reason in self.not_run.items()]
        lines += [f"- {note}" for note in self.notes if note not in known_notes]
        return "\n".join(lines).rstrip() + "\n"

    def to_json(self) -> dict[str, Any]:
        """All cells as JSON values."""
        rows = [
            {
                key: {"text": cell.text, "mean": cell.mean, "std": cell.std, "trials": cell.trials}
                for key, cell in row.items()
            }
            for row in self.rows
        ]
        return {
            "name": self.name,
            "title": self.title,
            "columns": self.columns,
            "rows": rows,
            "not_run": self.not_run,
            "notes": list(self.notes),
        }

    def to_csv(self) -> str:
        """One line per row; a column of figures becomes three: mean, standard deviation, trials."""
        numeric = {key for row in self.rows for key, cell in row.items() if cell.mean is not None}
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        header: list[str] = []
        for key, title in self.columns.items():
            header += [title, f"{title} (std)", f"{title} (trials)"] if key in numeric else [title]
        writer.writerow(header)
        for row in self.rows:
            line: list[Any] = []
            for key in self.columns:
                cell = row.get(key, Cell(EMPTY))
                if key not in numeric:
                    line.append(cell.text)
                elif cell.mean is None:
                    line += [cell.text, "", ""]
                else:
                    line += [_digits(cell.mean), _digits(cell.std), cell.trials if cell.trials else ""]
            writer.writerow(line)
        return stream.getvalue()

    def write(self, folder: Path) -> None:
        """Write ``NAME.md``, ``NAME.json`` and ``NAME.csv``."""
        write_text(folder / f"{self.name}.md", self.to_markdown("#"))
        write_json(folder / f"{self.name}.json", self.to_json())
        write_text(folder / f"{self.name}.csv", self.to_csv())


def figure_cell(values: Sequence[float | None], digits: int = 3) -> Cell:
    """Mean ± sample standard deviation over trials; "undefined" where a trial has no value."""
    spread = over_trials(list(values))
    if spread is None:
        return Cell("undefined")
    text = f"{spread.mean:.{digits}f}"
    if spread.std is not None:
        text += f" ± {spread.std:.{digits}f}"
    return Cell(f"{text} (n={spread.trials})", spread.mean, spread.std, spread.trials)


def difference_cell(ours: Cell, paper: float | None, comparable: bool, digits: int = 3) -> Cell:
    """Our value minus the paper's; an explanation where it is undefined."""
    if ours.mean is None:
        return Cell(EMPTY)
    if not comparable:
        return Cell("not comparable")
    if paper is None:
        return Cell("paper's not known")
    return Cell(f"{ours.mean - paper:+.{digits}f}", ours.mean - paper)


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
