"""``python -m monailabel_app.serve --studies DIR``: the server on this machine, with safe settings.

The same as ``monailabel start_server --app monailabel_app --uvicorn_app monailabel_app.front:app``, but bound
to 127.0.0.1 unless told otherwise, with settings checked before anything is loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

APP = Path(__file__).resolve().parent
DEFAULTS = {
    "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",  # a worker process at start and after each next sample
    "MONAI_LABEL_TRACKING_ENABLED": "false",  # mlflow
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a server, all but the studies."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the settings, then serve until stopped; exit code 2 for a setting that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m monailabel_app.serve", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--studies",
        required=True,
        help="folder of sweeps, an ACOUSLIC-AI root, or the address of a DICOMweb archive (docs/dicomweb.md)",
    )
    add_options(parser)
    given = parser.parse_args(arguments)
    if str(APP.parent) not in sys.path:
        sys.path.insert(0, str(APP.parent))

    from fetaliqa.errors import FetalIQAError

    try:
        return serve(given.studies, host=given.host, port=given.port, conf=given.conf, verbose=given.verbose)
    except FetalIQAError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def serve(studies: str, *, host: str, port: int, conf: Iterable[tuple[str, str]], verbose: str) -> int:
    """Serve until stopped.

    Args:
        studies: folder of sweeps, or the address of an archive.
        host, port: where to listen.
        conf: pairs of a setting's name and its value.
        verbose: level of the log.

    Returns:
        Exit code.

    Raises:
        FetalIQAError: for a setting that cannot be used.
    """
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    settings = dict(conf)

    from monailabel_app.lib.quick_start import promised

    promised.begin()  # until the front has the app, see there

    from monailabel_app.lib.conf import ServerConf
    from monailabel_app.lib.dicomweb.opening import studies_for_server
    from monailabel_app.lib.hints import HINT_VARIABLE
    from monailabel_app.lib.log_files import log_configuration

    checked = ServerConf.from_conf(settings)
    served, folder = studies_for_server(studies, checked)

    from monailabel_app.lib.infers import make_tasks  # after the cheap checks: loads torch

    make_tasks(checked)
    log_config = log_configuration(folder, verbose)
    os.environ[HINT_VARIABLE] = f"http://{host}:{port}"

    import uvicorn

    from monailabel_app.lib.server_settings import apply_settings

    apply_settings(APP, served, port, settings)
    uvicorn.run("monailabel_app.front:app", host=host, port=port, log_config=log_config, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
