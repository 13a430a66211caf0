"""``fetaliqa data``: download, check and split labelled data sets."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fetaliqa.cli.argument_types import existing, existing_folder
from fetaliqa.cli.progress_bars import moves

KINDS = ("auto", "acouslic", "hc18", "studies")  # as in fetaliqa.labels.dataset_kinds, without its slow import
NO_CASE = "no usable case: none has both image and label"
SHOWN_PROBLEMS = 20  # lines; --json has all


def configure(parser: argparse.ArgumentParser) -> None:
    from fetaliqa.cli import phantom  # imports the standard library only

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    acouslic = actions.add_parser(
        "acouslic", help="check an ACOUSLIC-AI (or phantom) folder, optionally after downloading it"
    )
    acouslic.add_argument("folder", metavar="DIR", type=Path, help="root of the data set")
    acouslic.add_argument("--download", action="store_true", help="download the public archive (38 GB) into DIR")
    acouslic.add_argument("--url", help="address of the archive (default: from Zenodo's record)")
    acouslic.add_argument("--sha256", help="expected SHA-256 of the archive, 64 hex digits")
    acouslic.add_argument("--md5", help="expected MD5 of the archive, 32 hex digits, as on Zenodo's page")
    acouslic.add_argument("--keep", action="store_true", help="keep the archive beside DIR")
    hc18 = actions.add_parser("hc18", help="check an HC18 folder")
    hc18.add_argument("folder", metavar="DIR", type=existing_folder, help="folder with the table and the images")
    folder = actions.add_parser("folder", help="check a folder of studies: of a server, or plain files")
    folder.add_argument("folder", metavar="DIR", type=existing_folder, help="folder of studies")
    folder.add_argument("--anatomy", default="abdomen", help="outlined anatomy (default abdomen)")
    split = actions.add_parser("split", help="split a data set's cases into train, validation and test")
    split.add_argument("folder", metavar="DIR", type=existing_folder, help="folder of the data set")
    split.add_argument("--out", metavar="FILE", type=Path, required=True, help="JSON file; -1, -2, ... for folds")
    split.add_argument(
        "--method",
        choices=("subject", "paper", "kfold"),
        default="subject",
        help="subject: by subject (default); paper: by case, with the paper's seed; kfold: by subject",
    )
    split.add_argument(
        "--seed", type=int, default=0, metavar="S", help="random seed of subject and kfold (default 0)"
    )
    split.add_argument("--folds", type=int, default=5, metavar="K", help="number of folds (default 5)")
    split.add_argument(
        "--extend", metavar="OLD", type=existing, help="keep the parts of this split, and add new cases"
    )
    split.add_argument("--kind", choices=KINDS, default="auto", help="kind of data set (default: detected)")
    for action in (acouslic, hc18, folder, split):
        action.add_argument("--json", action="store_true", help="print JSON")
    phantom.configure(actions.add_parser("phantom", help="generate synthetic blind sweeps, as `fetaliqa phantom`"))


def run(args: argparse.Namespace) -> int:
    """Run an action; returns 0, or 1 when a check found problems."""
    if args.action == "phantom":
        from fetaliqa.cli import phantom

        return phantom.run(args)
    if args.action == "split":
        from fetaliqa.cli import data_split

        return data_split.run(args)
    return {"acouslic": _acouslic, "hc18": _hc18, "folder": _folder}[args.action](args)


@contextmanager
def _bar(unit: str, what: str = "", *, scale: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on stderr, if that is a terminal."""
    from tqdm import tqdm

    with tqdm(unit=unit, desc=what or None, unit_scale=scale, file=sys.stderr, disable=None) as bar:
        yield moves(bar)


def _acouslic(args: argparse.Namespace) -> int:
    from fetaliqa.datasets.acouslic import verify
    from fetaliqa.errors import OptionError

    if not args.download and (args.url or args.sha256 or args.md5 or args.keep):
        raise OptionError("--url, --sha256, --md5 and --keep require --download; add it, or omit them")
    fetched = _download(args) if args.download else None
    with _bar("case") as show:
        report = verify(args.folder, show)
    if args.json:
        _print_json({**report.to_json(), "download": fetched})
        return 0 if report.sound else 1
    if fetched:
        print(f"archive      sha256 {fetched['sha256']} (checked by {fetched['checked']})")
    synthetic = ", synthetic" if report.name == "phantom" else ""
    print(
        f"{report.name:<12} {report.cases} cases of {report.subjects} subjects, "
        f"{report.readable} readable{synthetic}"
    )
    if report.ac_mm:
        ac = report.ac_mm
        span = f"{ac['lowest']:.1f} to {ac['highest']:.1f}"
        print(f"AC           {ac['count']} values, mean {ac['mean']:.1f} mm, {span}")
    if report.table_over_masks:
        ratio = report.table_over_masks
        print(
            f"table/masks  median {ratio['median']:.3f}, {ratio['lowest']:.3f} to {ratio['highest']:.3f} "
            f"({ratio['count']} sweeps)"
        )
    frames = report.frames
    print(
        f"frames       {frames['slots']} slots, {frames['padding']} of them black padding; "
        f"{frames['optimal']} optimal, {frames['suboptimal']} suboptimal"
    )
    for remark in report.remarks:
        print(f"remark       {remark.case_id}: {remark.sentence} (as in the published data)")
    return _conclusion([f"{p.case_id}: {p.sentence}" if p.case_id else p.sentence for p in report.problems])


def _download(args: argparse.Namespace) -> dict[str, str]:
    from fetaliqa.datasets.acouslic_archive import fetch_archive, find_source

    source = find_source(args.url, args.sha256, args.md5, note=lambda text: print(text, file=sys.stderr))
    with _bar("B", "download", scale=True) as loading, _bar("B", "unpack", scale=True) as unpacking:
        fetched = fetch_archive(source, args.folder, keep=args.keep, progress=loading, unpacked=unpacking)
    return {"url": fetched.url, "sha256": fetched.sha256, "checked": fetched.checked}


def _hc18(args: argparse.Namespace) -> int:
    from fetaliqa.datasets.hc18 import HC18
    from fetaliqa.errors import FetalIQAError

    data = HC18(args.folder)
    entries, problems = data.entries(), data.problems()
    if not entries:
        problems.append(NO_CASE)
    with _bar("image") as show:
        for done, entry in enumerate(entries, start=1):
            try:
                data.read(entry.case_id)
            except FetalIQAError as problem:
                problems.append(str(problem))
            show(done, len(entries))
    subjects = len({entry.subject_id for entry in entries})
    if args.json:
        _print_json(
            {
                "name": data.name,
                "cases": len(entries),
                "subjects": subjects,
                "problems": problems,
                "sound": not problems,
            }
        )
        return 1 if problems else 0
    print(f"hc18         {len(entries)} images of {subjects} subjects")
    return _conclusion(problems)


def _folder(args: argparse.Namespace) -> int:
    from fetaliqa.labels.studies import Studies

    data = Studies(args.folder, args.anatomy)
    with _bar("case") as show:
        survey = data.survey(show)
    entries = data.entries()
    if not entries:
        survey.problems.append(NO_CASE)
    subjects = len({entry.subject_id for entry in entries})
    if args.json:
        counts = {"cases": len(entries), "subjects": subjects, "frames": survey.frames}
        _print_json(
            {"name": data.name, "synthetic": data.synthetic, **counts}
            | {"problems": survey.problems, "sound": not survey.problems}
        )
        return 1 if survey.problems else 0
    frames = survey.frames
    labelled = frames["optimal"] + frames["suboptimal"] + frames["empty"]
    synthetic = ", synthetic" if data.synthetic else ""
    print(f"studies      {len(entries)} labelled cases of {subjects} subjects{synthetic}")
    print(
        f"frames       {labelled} of {frames['slots']} labelled: {frames['optimal']} optimal, "
        f"{frames['suboptimal']} suboptimal, {frames['empty']} empty"
    )
    return _conclusion(survey.problems)


def _conclusion(problems: list[str]) -> int:
    """Print the problems, if any; returns the exit code."""
    for problem in problems[:SHOWN_PROBLEMS]:
        print(f"problem      {problem}")
    if len(problems) > SHOWN_PROBLEMS:
        print(f"             and {len(problems) - SHOWN_PROBLEMS} more; --json lists all")
    print(f"{len(problems)} problem(s)" if problems else "no problems")
    return 1 if problems else 0


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))
