"""The server in front: ``start_server --uvicorn_app monailabel_app.front:app``.

MONAI Label's API with the same calls and answers; every call runs off the event loop, takes checked input
only, and answers errors with a sentence. See docs/server.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from monailabel.config import settings
from monailabel.interfaces.utils.app import app_instance

from fetaliqa import __version__
from monailabel_app.lib.api import (
    activelearning,
    archive,
    batch,
    datastore,
    export,
    infer,
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
from monailabel_app.lib.hints import HINT_VARIABLE, LOG_VARIABLE, hints
from monailabel_app.lib.quick_start import promised
from monailabel_app.lib.scratch import scratch
from monailabel_app.lib.upload_slots import UploadAdmission
from monailabel_app.lib.workers import SERVER_VARIABLE

logger = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Load the app before the first request, as MONAI Label's own server does."""
    log_settings = os.environ.pop(LOG_VARIABLE, None)
    if log_settings:
        Path(log_settings).unlink(missing_ok=True)  # they were read before this app was
    scratch.holds_masks = True
    os.environ.pop(SERVER_VARIABLE, None)  # of another server, whose worker started this one
    instance = app_instance()
    promised.end()
    instance.server_mode(True)
    instance.on_init_complete()
    address = os.environ.get(HINT_VARIABLE)
    if address:
        logger.info("\n%s", hints(address, instance.datastore().list_images(), instance.info()["models"]))
    yield
    instance.close()


def make_app() -> FastAPI:
    """The ASGI app; settings are those of ``start_server`` (environment and ``--conf``)."""
    app = FastAPI(
        title="FetalIQA",
        version=__version__,
        docs_url="/",
        redoc_url="/docs",
        lifespan=lifespan,
        default_response_class=AnyJSONResponse,
    )
    add_error_replies(app)
    prefix = settings.MONAI_LABEL_API_STR
    own = (activelearning, infer, batch, export, datastore, archive, session, scoring, train, models)
    for router in (*stock.routers(), *(module.router for module in own)):
        app.include_router(router, prefix=prefix)
    conf = ServerConf.from_conf(settings.MONAI_LABEL_APP_CONF)
    app.add_middleware(UploadAdmission)
    app.add_middleware(Guard, max_body_bytes=conf.max_upload_bytes, origins=conf.origins)
    if conf.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=conf.origins,
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
        )
    return app


app = make_app()
