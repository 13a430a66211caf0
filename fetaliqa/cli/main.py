"""Entry point of the command line: ``fetaliqa COMMAND``, with errors reported in one sentence.

A command is a module ``fetaliqa.cli.COMMAND`` with ``configure(parser)`` (fast imports only, so that
``fetaliqa --help`` is fast) and ``run(args) -> int`` (which imports the rest).
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from fetaliqa import __version__
from fetaliqa.case_names import printable
from fetaliqa.errors import FetalIQAError
from fetaliqa.extras import extra_of

VERBS = {
    "score": "assess sweeps: rank frames, outline the anatomy, measure its circumference",
    "serve": "serve a studies folder to 3D Slicer and other clients of MONAI Label",
    "users": "who may sign in to a server: users, roles, tokens, and the audit log",
    "best": "find the best frame of each sweep, evaluating a subset of the frames",
    "growth": "gestational age, growth centile and estimated weight of given measurements",
    "phantom": "make synthetic blind sweeps in the ACOUSLIC-AI folder layout",
    "weights": "download, import or show the FetalCLIP foundation-model weights",
    "models": "list, show, verify, export, import, calibrate or publish model bundles",
    "data": "check, fetch and split labelled data sets",
    "export": "export annotated frames in formats of other programs, with a data card",
    "labels": "versions of the labels that annotators saved; agreement of raters",
    "train": "train models by a recipe, from any labelled data set",
    "distill": "train a compact model on the outlines of a large one, or a student that screens frames for it",
    "retrain": "retrain on confirmed labels of a studies folder, and publish if the gate accepts",
    "evaluate": "measure a run or a bundle on labelled cases; tables and an HTML report",
    "experiment": "the paper's tables and figures, ours beside them",
    "simulate": "label-efficiency curves of the query strategies, with a simulated annotator",
    "demo": "evaluate a model on phantom sweeps or images; generate the sample cases",
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fetaliqa", description="Find, outline and measure the fetal abdomen in blind-sweep ultrasound."
    )
    parser.add_argument("--version", action="version", version=f"fetaliqa {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, summary in VERBS.items():
        sub = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        module = importlib.import_module(f"fetaliqa.cli.{name}")
        module.configure(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 fine, 2 bad input, 130 interrupted)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    name = " ".join(["fetaliqa", *(verb for verb in arguments[:1] if verb in VERBS)])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the terminal's encoding may lack characters of file names
            stream.reconfigure(errors="backslashreplace")
    try:
        args = build_parser().parse_args(arguments)
        return int(args.run(args) or 0)
    except FetalIQAError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as problem:
        extra = extra_of(problem.name)
        if extra is None:
            raise
        print(
            f"{name}: this needs {problem.name}, which is not installed; run `pip install 'fetaliqa[{extra}]'`",
            file=sys.stderr,
        )
        return 2
    except BrokenPipeError:  # `fetaliqa ... | head` is not an error
        sys.stderr.close()
        return 0
    except OSError as problem:
        where = f"{printable(str(problem.filename))}: " if problem.filename else ""
        what = problem.strerror or str(problem)
        print(
            f"{name}: {where}{what.lower()}; check the path, its permissions and the disk",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
