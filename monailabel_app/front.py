"""The server in front: ``start_server --uvicorn_app monailabel_app.front:app``.

MONAI Label's API with the same calls and answers; every call runs off the event loop, takes checked input
only, and answers errors with a sentence. See docs/server.md.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from monailabel.config import settings
from monailabel.interfaces.utils.app import app_instance

from fetaliqa import __version__
from fetaliqa.errors import FetalIQAError
from monailabel_app.lib.api import (
    activelearning,
    archive,
    batch,
    datastore,
    export,
    infer,
    logs,
    models,
    scoring,
    session,
    stock,
    train,
)
from monailabel_app.lib.api.replies import AnyJSONResponse
from monailabel_app.lib.conf import ServerConf
from monailabel_app.lib.failures import add_error_replies
from monailabel_app.lib.guard import Guard
from monailabel_app.lib.hints import HINT_VARIABLE, OPEN, hints
from monailabel_app.lib.hosts import allowed_hosts, check_open, is_loopback
from monailabel_app.lib.listening import bound_host
from monailabel_app.lib.pages import add_pages
from monailabel_app.lib.perimeter import Front
from monailabel_app.lib.quick_start import promised
from monailabel_app.lib.scratch import scratch
from monailabel_app.lib.upload_slots import UploadAdmission
from monailabel_app.lib.uploads import Folders, UploadLimits
from monailabel_app.lib.workers import SERVER_VARIABLE

logger = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Load the app before the first request, as MONAI Label's own server does."""
    scratch.holds_masks = True
    os.environ.pop(SERVER_VARIABLE, None)  # of another server, whose worker started this one
    instance = app_instance()
    promised.end()
    instance.server_mode(True)
    instance.on_init_complete()
    address = os.environ.get(HINT_VARIABLE)
    if address:
        store = instance.datastore()
        logger.info("\n%s", hints(address, store.list_images(), instance.info()["models"], store.not_offered()))
    host = bound_host()
    if host is not None and not settings.MONAI_LABEL_AUTH_ENABLE and not is_loopback(host):
        logger.warning(OPEN, host)
    yield
    instance.close()


def _upload_folders() -> Folders:
    app = app_instance()
    sessions = app.sessions()
    return Folders(
        images=app.datastore().images_folder(),
        sessions=None if sessions is None else Path(sessions.store_path),
        temporary=Path(tempfile.gettempdir()),
    )


def make_app() -> FastAPI:
    """The ASGI app; settings are those of ``start_server`` (environment and ``--conf``).

    Raises:
        OptionError: for settings that cannot be used.
    """
    conf = ServerConf.from_conf(settings.MONAI_LABEL_APP_CONF)
    host = bound_host()
    if host is not None:
        check_open(host, conf.opened)
    app = Front(
        hosts=allowed_hosts(host, conf.hosts),
        others=conf.opened or settings.MONAI_LABEL_AUTH_ENABLE,
        title="FetalIQA",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        default_response_class=AnyJSONResponse,
    )
    add_error_replies(app)
    add_pages(app)
    prefix = settings.MONAI_LABEL_API_STR
    own = (activelearning, infer, batch, export, datastore, archive, session, scoring, train, models, logs)
    for router in (*stock.routers(), *(module.router for module in own)):
        app.include_router(router, prefix=prefix)
    uploads = UploadLimits(_upload_folders, conf.max_studies_bytes, conf.min_free_bytes, conf.uploads_per_minute)
    app.add_middleware(UploadAdmission)
    app.add_middleware(Guard, max_body_bytes=conf.max_upload_bytes, origins=conf.origins, uploads=uploads)
    if conf.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=conf.origins,
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
        )
    return app


def _app_of_command() -> FastAPI:
    try:
        return make_app()
    except FetalIQAError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


app = _app_of_command()
