"""``python -m monailabel_app.serve --studies DIR``: the server on this machine, with safe settings.

The same as ``monailabel start_server --app monailabel_app --uvicorn_app monailabel_app.front:app``, but it
listens on 127.0.0.1 by default, checks the settings, and binds the port before anything is loaded.
"""

from __future__ import annotations

import argparse
import contextlib
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
    parser.add_argument("--port", default="8000", help="port to listen on, 0: any free one (default: 8000)")
    parser.add_argument(
        "--conf",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="setting, see docs/server.md",
    )
    parser.add_argument("--verbose", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m monailabel_app.serve``."""
    parser = argparse.ArgumentParser(
        prog="python -m monailabel_app.serve", description="The server on this machine, with safe settings."
    )
    parser.add_argument(
        "--studies",
        required=True,
        help="folder of sweeps, an ACOUSLIC-AI root, or the address of a DICOMweb archive (docs/dicomweb.md)",
    )
    add_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the settings, then serve until stopped; exit code 2 for a setting that cannot be used."""
    options = build_parser().parse_args(arguments)
    if str(APP.parent) not in sys.path:
        sys.path.insert(0, str(APP.parent))

    from fetaliqa.errors import FetalIQAError

    try:
        return serve(
            options.studies, host=options.host, port=options.port, conf=options.conf, verbose=options.verbose
        )
    except FetalIQAError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def serve(studies: str, *, host: str, port: str, conf: Iterable[tuple[str, str]], verbose: str) -> int:
    """Serve until stopped.

    Args:
        studies: folder of sweeps, or the address of an archive.
        host, port: where to listen; port 0 takes a free one.
        conf: pairs of a setting's name and its value.
        verbose: level of the log.

    Returns:
        Exit code.

    Raises:
        FetalIQAError: for a setting that cannot be used, or a port that cannot be listened on.
    """
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    settings = dict(conf)

    from monailabel_app.lib.startup.lazy_monai import lazy_monai

    lazy_monai.begin()  # ended when the app is made

    from monailabel_app.lib.http.hosts import as_host, check_open
    from monailabel_app.lib.startup.listening import (
        HOST_VARIABLE,
        addresses_of,
        listen,
        plain_host,
        port_number,
        reachable_host,
    )

    host, number = plain_host(host), port_number(port)
    addresses = addresses_of(host, number)
    check_open(host, settings.get("open"))
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(sock) for sock in listen(host, number, addresses)]
        number = sockets[0].getsockname()[1]

        from monailabel_app.lib.startup.conf import ServerConf
        from monailabel_app.lib.startup.log_files import log_configuration
        from monailabel_app.lib.startup.studies_option import check_studies

        server_conf = ServerConf.from_conf(settings)
        served, folder = check_studies(studies, server_conf)

        from monailabel_app.lib.tasks.inference_task import make_tasks  # after the cheap checks: loads torch

        make_tasks(server_conf)
        log_config = log_configuration(folder, verbose)

        from monailabel_app.lib.startup.monailabel_settings import apply_settings
        from monailabel_app.lib.startup.start_message import ADDRESS_VARIABLE
        from monailabel_app.lib.startup.uvicorn_server import run_on

        os.environ[ADDRESS_VARIABLE] = f"http://{as_host(reachable_host(host))}:{number}"
        os.environ[HOST_VARIABLE] = host
        apply_settings(APP, served, number, settings)
        run_on(sockets, "monailabel_app.front:app", log_config)
    return 0


if __name__ == "__main__":
    sys.exit(main())
