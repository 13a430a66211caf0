"""``python -m monailabel_app.serve --studies DIR``: the server on this machine, with safe settings.

The same as ``monailabel start_server --app monailabel_app --uvicorn_app monailabel_app.front:app``, but bound
to 127.0.0.1 unless told otherwise, with settings checked before anything is loaded.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

APP = Path(__file__).resolve().parent
DEFAULTS = {
    "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",  # a worker process at start and after each next sample
    "MONAI_LABEL_TRACKING_ENABLED": "false",  # mlflow
}


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m monailabel_app.serve", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--studies",
        required=True,
        help="folder of sweeps, an ACOUSLIC-AI root, or the address of a DICOMweb archive (docs/dicomweb.md)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", default=8000, type=int)
    parser.add_argument(
        "--conf",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="setting, see docs/server.md",
    )
    parser.add_argument("--verbose", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the settings, then serve until stopped; exit code 2 for a setting that cannot be used."""
    given = make_parser().parse_args(arguments)
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    if str(APP.parent) not in sys.path:
        sys.path.insert(0, str(APP.parent))

    from monailabel_app.lib.quick_start import promised

    promised.begin()  # until the front has the app, see there

    from fetaliqa.errors import FetalIQAError
    from monailabel_app.lib.conf import ServerConf
    from monailabel_app.lib.dicomweb.opening import studies_for_server
    from monailabel_app.lib.hints import HINT_VARIABLE, LOG_VARIABLE
    from monailabel_app.lib.infers import make_tasks

    try:
        conf = ServerConf.from_conf(dict(given.conf))
        make_tasks(conf)
        studies = studies_for_server(given.studies, conf)
    except FetalIQAError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    os.environ[HINT_VARIABLE] = f"http://{given.host}:{given.port}"

    from monailabel.main import Main
    from monailabel.utils.others.generic import init_log_config

    # a temporary file, which nobody would remove: the front does
    os.environ[LOG_VARIABLE] = log_settings = init_log_config(None, str(APP), "app.log", given.verbose)
    sys.argv = ["monailabel", "start_server", "--app", str(APP), "--studies", studies]
    sys.argv += ["--host", given.host, "--port", str(given.port), "--verbose", given.verbose]
    sys.argv += ["--uvicorn_app", "monailabel_app.front:app", "--log_config", log_settings]
    for key, value in given.conf:
        sys.argv += ["--conf", key, value]
    Main(loglevel=logging.WARNING, actions="start_server").run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
