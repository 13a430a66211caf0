"""``python -m monailabel_app.serve --studies DIR``: the server on this machine, with safe settings.

The same as ``monailabel start_server --app monailabel_app --uvicorn_app monailabel_app.front:app``, but bound
to 127.0.0.1 unless told otherwise, with settings checked, and the port taken, before anything is loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    from monailabel_app.lib.hosts import as_host, check_open
    from monailabel_app.lib.listening import addresses_of, listen, plain_host, port_number, reachable_host

    host, settings = plain_host(given.host), dict(given.conf)
    try:
        port = port_number(given.port)
        addresses = addresses_of(host, port)
        check_open(host, settings.get("open"))
        sockets = listen(host, port, addresses)
    except FetalIQAError as error:
        return _ended(error)
    port = sockets[0].getsockname()[1]

    from monailabel_app.lib.conf import ServerConf
    from monailabel_app.lib.dicomweb.opening import studies_for_server
    from monailabel_app.lib.hints import HINT_VARIABLE, LOG_VARIABLE
    from monailabel_app.lib.infers import make_tasks

    try:
        conf = ServerConf.from_conf(settings)
        make_tasks(conf)
        studies = studies_for_server(given.studies, conf)
    except FetalIQAError as error:
        for sock in sockets:
            sock.close()
        return _ended(error)
    os.environ[HINT_VARIABLE] = f"http://{as_host(reachable_host(host))}:{port}"

    from monailabel.utils.others.generic import init_log_config

    # a temporary file, which nobody would remove: the front does
    os.environ[LOG_VARIABLE] = log_settings = init_log_config(None, str(APP), "app.log", given.verbose)
    sys.argv = ["monailabel", "start_server", "--app", str(APP), "--studies", studies]
    sys.argv += ["--host", host, "--port", str(port), "--verbose", given.verbose]
    sys.argv += ["--uvicorn_app", "monailabel_app.front:app", "--log_config", log_settings]
    for key, value in given.conf:
        sys.argv += ["--conf", key, value]

    from monailabel_app.lib.own_sockets import OwnSockets

    OwnSockets(sockets).run()
    return 0


def _ended(error: Any) -> int:
    sys.stderr.write(f"error: {error}\n")
    return int(error.exit_code)


if __name__ == "__main__":
    sys.exit(main())
