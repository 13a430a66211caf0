"""``fetaliqa serve``: run the server of a studies folder, like ``python -m monailabel_app.serve``."""

from __future__ import annotations

import argparse

from fetaliqa.extras import require_extra
from monailabel_app.serve import add_options, serve


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "studies",
        metavar="STUDIES",
        help="folder of sweeps, an ACOUSLIC-AI root, or the address of a DICOMweb archive",
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until stopped; returns 2 for invalid settings."""
    require_extra("server", "the server", {"monailabel": "monailabel"})
    return serve(args.studies, host=args.host, port=args.port, conf=args.conf, verbose=args.verbose)
