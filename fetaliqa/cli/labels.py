"""``fetaliqa labels``: versions of the labels in a studies folder, inter-rater agreement, and import."""

from __future__ import annotations

import argparse
import getpass
import json
from pathlib import Path
from typing import TYPE_CHECKING

from fetaliqa.cli import labels_import
from fetaliqa.cli.argument_types import existing_folder
from fetaliqa.measure.anatomy import ANATOMIES, anatomy_named

if TYPE_CHECKING:
    from fetaliqa.labels import LabelStore
    from fetaliqa.labels.rater_agreement import Comparison

FINAL = "final"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the labels of all cases, or all versions of one")
    listing.add_argument("case", nargs="?", metavar="CASE")
    restore = actions.add_parser("restore", help="restore an earlier version, as a new version")
    restore.add_argument("case", metavar="CASE")
    restore.add_argument("version", type=int, metavar="VERSION")
    confirm = actions.add_parser("confirm", help="confirm the proposed frames of a label, for training")
    confirm.add_argument("case", metavar="CASE")
    confirm.add_argument("--version", type=int, metavar="N", help="version that was reviewed (default: the last)")
    confirm.add_argument(
        "--frames", metavar="LIST", help="frames from 0, such as 3,7-9 (default: all proposed ones with a mask)"
    )
    confirm.add_argument("--reviewer", metavar="NAME", help="reviewer (default: your user name)")
    agreement = actions.add_parser("agreement", help="Dice, difference of circumference, kappa of two raters")
    agreement.add_argument("case", nargs="?", metavar="CASE", help="default: all cases that both have labelled")
    agreement.add_argument("first", metavar="TAG")
    agreement.add_argument("second", metavar="TAG")
    agreement.add_argument(
        "--anatomy", choices=sorted(ANATOMIES), default="abdomen", help="what is outlined (default: abdomen)"
    )
    check = actions.add_parser("check", help="check that all versions are intact")
    importing = actions.add_parser("import", help="labels made elsewhere, as new versions; overwrites nothing")
    labels_import.configure(importing)
    for action in (listing, restore, confirm, agreement, check, importing):
        action.add_argument(
            "--studies", type=existing_folder, required=True, metavar="DIR", help="studies folder of the server"
        )
        action.add_argument("--json", action="store_true", help="print JSON")
    for action in (listing, restore, confirm):
        action.add_argument("--tag", default=FINAL, help="rater, or final (the default)")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.errors import NotFoundError
    from fetaliqa.labels import LabelStore
    from fetaliqa.labels.label_store import FOLDER

    if args.action == "import":
        return labels_import.run(args)
    folder = args.studies / FOLDER
    if not args.studies.is_dir():
        raise NotFoundError(f"{args.studies}: no such folder; check the path")
    if not folder.is_dir():
        raise NotFoundError(f"{args.studies}: no labels saved by a FetalIQA server in this folder")
    store = LabelStore(folder)
    doing = {"list": _list, "restore": _restore, "confirm": _confirm, "agreement": _agreement, "check": _check}
    return doing[args.action](args, store)


def _list(args: argparse.Namespace, store: LabelStore) -> int:
    from fetaliqa.errors import NotFoundError

    if args.case is None:
        versions = [
            version
            for case in store.cases()
            for tag in store.known_tags(case)
            if (version := store.current(case, tag)) is not None
        ]
    else:
        versions = store.history(args.case, args.tag)
        if not versions:
            tags = _shown(store, args.case)
            raise NotFoundError(f"{args.case}: no label with tag {args.tag!r}; its tags: {tags}")
    if args.json:
        print(json.dumps([version.summary() for version in versions], indent=2))
        return 0
    for version in versions:
        summary = version.summary()
        counts = summary["frames"]
        frames = "no frame record" if counts is None else ", ".join(f"{n} {state}" for state, n in counts.items())
        remarks = [f"restored from {version.restored_from}"] if version.restored_from else []
        remarks += ["removed"] if version.removed else []
        remarks += [f"{version.review.state} by {version.review.reviewer}"] if version.review else []
        what = "; ".join([frames, *remarks])
        print(
            f"{version.case}  {version.tag}  {version.version}  {version.saved}  {summary['user'] or '-'}  {what}"
        )
    return 0


def _restore(args: argparse.Namespace, store: LabelStore) -> int:
    saved = store.restore(args.case, args.tag, args.version, {"user": _user()})
    if args.json:
        print(json.dumps(saved.summary(), indent=2))
    else:
        print(f"{saved.case}, {saved.tag}: version {saved.version} restores version {args.version}")
    return 0


def _confirm(args: argparse.Namespace, store: LabelStore) -> int:
    from fetaliqa.labels.confirmation import KEY, confirm, parse_frames

    frames = None if args.frames is None else parse_frames(args.frames)
    version = store.latest(args.case, args.tag) if args.version is None else args.version
    saved = confirm(store, args.case, args.tag, version, args.reviewer or _user(), frames)
    if args.json:
        print(json.dumps(saved.summary(), indent=2))
    else:
        count = saved.info[KEY]["frames"]
        print(f"{saved.case}, {saved.tag}: version {saved.version} confirms {count} frame(s) of version {version}")
    return 0


def _agreement(args: argparse.Namespace, store: LabelStore) -> int:
    from fetaliqa.labels.rater_agreement import joined

    tags, anatomy = [args.first, args.second], anatomy_named(args.anatomy)
    cases = [args.case] if args.case is not None else _labelled_by_both(store, tags)
    comparisons = {case: _compared(args.studies, store, case, tags, args.anatomy) for case in cases}
    together = joined(list(comparisons.values())).agreement()
    if args.json:
        if args.case is not None:
            print(json.dumps({"case": args.case, "tags": tags, **together.to_json()}))
            return 0
        each = {case: comparison.agreement().to_json() for case, comparison in comparisons.items()}
        print(json.dumps({"tags": tags, "cases": each, **together.to_json()}))
        return 0
    if args.case is None:
        for case, comparison in comparisons.items():
            agreement = comparison.agreement()
            difference = _figure(agreement.circumference_difference, percent=True)
            print(
                f"{case}: {agreement.outlined_by_both} of {agreement.frames} frames outlined by both, Dice "
                f"{_figure(agreement.dice)}, {anatomy.quantity} {difference}"
            )
    print(
        f"{args.case or f'{len(cases)} cases'}: {args.first} and {args.second} both labelled {together.frames} "
        f"frames, both outlined {together.outlined_by_both}"
    )
    print(f"  Dice: {_figure(together.dice)}")
    print(f"  difference of {anatomy.quantity}: {_figure(together.circumference_difference, percent=True)}")
    print(f"  {anatomy.measurement} difference: {_figure(together.ac_difference_mm, ' mm')}")
    print(f"  {anatomy.measurement} bias: {_figure(together.ac_bias_mm, ' mm')}")
    print(f"  kappa of the plane: {_figure(together.kappa)}")
    return 0


def _figure(value: float | None, unit: str = "", *, percent: bool = False) -> str:
    if value is None:
        return "undefined"
    return f"{value:.1%}" if percent else f"{value:.3f}{unit}"


def _labelled_by_both(store: LabelStore, tags: list[str]) -> list[str]:
    """Cases labelled by both raters.

    Raises:
        NotFoundError: when there is none.
    """
    from fetaliqa.errors import NotFoundError

    cases = [case for case in store.cases() if set(tags) <= set(store.tags(case))]
    if not cases:
        all_tags = sorted({tag for case in store.cases() for tag in store.tags(case)})
        raise NotFoundError(f"no case has labels of both {' and '.join(tags)}; tags: {', '.join(all_tags)}")
    return cases


def _compared(studies: Path, store: LabelStore, case: str, tags: list[str], anatomy: str) -> Comparison:
    """Compare two raters' labels of a case frame by frame."""
    from fetaliqa.errors import LabelError, NotFoundError
    from fetaliqa.labels.rater_agreement import compare
    from fetaliqa.measure.field_of_view import field_of_view
    from fetaliqa.sweep import read_sweep

    sweep = read_sweep(_image(studies, case))
    sides = []
    for tag in tags:
        version = store.current(case, tag)
        if version is None:
            raise NotFoundError(f"{case}: no label with tag {tag!r}; its tags: {_shown(store, case)}")
        if version.record is None:
            raise LabelError(f"{case}, {tag}: saved without a frame record, so the reviewed frames are unknown")
        sides.append((version.masks(sweep), version.record))
    return compare(sides[0], sides[1], sweep.spacing, field_of_view(sweep.frames), anatomy_named(anatomy))


def _image(studies: Path, case: str) -> Path:
    """The image file of a case."""
    from fetaliqa.errors import NotFoundError
    from fetaliqa.sweep import case_id_of, is_sweep_path
    from fetaliqa.sweep.case_paths import images_below

    folder = studies / images_below(studies)
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and is_sweep_path(path) and case_id_of(path) == case:
            return path
    raise NotFoundError(f"{case}: no image of this name in {folder}")


def _check(args: argparse.Namespace, store: LabelStore) -> int:
    problems = store.check()
    if args.json:
        print(json.dumps({"problems": problems}))
    else:
        print("\n".join(f"problem  {problem}" for problem in problems) or "all versions are intact")
    return 1 if problems else 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return "unknown"


def _shown(store: LabelStore, case: str) -> str:
    return ", ".join(store.known_tags(case)) or "none"
