"""FetalIQA's ASGI app: ``start_server --uvicorn_app monailabel_app.front:app``.

MONAI Label's API with the same requests and responses; every request runs off the event loop, its input is
checked, and an error is one sentence. See docs/server.md.
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
from monailabel.endpoints.user.auth import get_current_user
from monailabel.interfaces.utils.app import app_instance

from fetaliqa import __version__
from fetaliqa.errors import FetalIQAError
from monailabel_app.lib.access.access_gate import AccessGate
from monailabel_app.lib.access.access_rules import AccessRules
from monailabel_app.lib.access.identity import RequiredRole
from monailabel_app.lib.access.login_service import Login, NoLogin, OwnLogin, current_login, set_login
from monailabel_app.lib.access.login_setting import check_login
from monailabel_app.lib.access.role_names import ANYONE
from monailabel_app.lib.api import (
    active_learning_routes,
    archive_routes,
    batch_routes,
    case_versions_routes,
    datastore_routes,
    export_routes,
    inference_routes,
    interactive_routes,
    log_routes,
    login_routes,
    model_routes,
    monailabel_routes,
    scoring_routes,
    session_routes,
    training_routes,
)
from monailabel_app.lib.api.file_responses import AnyJSONResponse
from monailabel_app.lib.api.v1 import case_routes, growth_routes, label_routes, overview_routes, worklist_routes
from monailabel_app.lib.dicomweb.archive_address import studies_folder
from monailabel_app.lib.files.scratch import scratch
from monailabel_app.lib.http.error_replies import add_error_replies
from monailabel_app.lib.http.guard import Guard
from monailabel_app.lib.http.hosts import allowed_hosts, is_loopback
from monailabel_app.lib.http.pages import add_pages
from monailabel_app.lib.http.perimeter import Front
from monailabel_app.lib.http.upload_limits import Folders, UploadLimits
from monailabel_app.lib.http.upload_slots import UploadAdmission
from monailabel_app.lib.http.web_page import add_web_page
from monailabel_app.lib.startup.conf import ServerConf
from monailabel_app.lib.startup.listening import bound_host
from monailabel_app.lib.startup.start_message import ADDRESS_VARIABLE, OPEN, WITHOUT_TLS, start_message
from monailabel_app.lib.tasks.worker_processes import SERVER_VARIABLE

logger = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Load the app before the first request, as MONAI Label's own server does."""
    scratch.holds_masks = True
    os.environ.pop(SERVER_VARIABLE, None)  # set where a worker of another server started this one
    instance = app_instance()
    instance.server_mode(True)
    instance.on_init_complete()
    address = os.environ.get(ADDRESS_VARIABLE)
    if address:
        store = instance.datastore()
        logger.info(
            "\n%s",
            start_message(
                address,
                store.list_images(),
                instance.info()["models"],
                store.not_offered(),
                login=current_login().required,
            ),
        )
    host = bound_host()
    if host is not None and not is_loopback(host):
        logger.warning(WITHOUT_TLS if current_login().required else OPEN, host)
    yield
    instance.close()


def _upload_folders() -> Folders:
    app = app_instance()
    sessions = app.sessions()
    return Folders(
        images=app.datastore().index.images_folder(),
        sessions=None if sessions is None else Path(sessions.store_path),
        temporary=Path(tempfile.gettempdir()),
    )


def _login(host: str | None, conf: ServerConf) -> Login:
    """The login of the server.

    Raises:
        OptionError: when it requires one and there is no user.
    """
    keycloak, studies = settings.MONAI_LABEL_AUTH_ENABLE, settings.MONAI_LABEL_STUDIES
    folder = studies_folder(studies, conf.dicom_folder)
    own = check_login(host, conf.login, conf.opened, studies, folder, keycloak=keycloak)
    if keycloak:
        from monailabel_app.lib.access.keycloak_login import KeycloakLogin

        return KeycloakLogin(folder)
    return OwnLogin(folder) if own else NoLogin()


def make_app() -> FastAPI:
    """The ASGI app; settings are those of ``start_server`` (environment and ``--conf``).

    Raises:
        OptionError: for settings that cannot be used.
    """
    conf = ServerConf.from_conf(settings.MONAI_LABEL_APP_CONF)
    host = bound_host()
    login = _login(host, conf)
    set_login(login)
    app = Front(
        hosts=allowed_hosts(host, conf.hosts),
        others=conf.opened or login.required,
        title="FetalIQA",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        default_response_class=AnyJSONResponse,
    )
    add_error_replies(app, login.required)
    add_pages(app)
    prefix = settings.MONAI_LABEL_API_STR
    add_web_page(app, prefix)
    own = (
        active_learning_routes,
        inference_routes,
        interactive_routes,
        batch_routes,
        export_routes,
        datastore_routes,
        case_versions_routes,
        archive_routes,
        session_routes,
        scoring_routes,
        training_routes,
        model_routes,
        log_routes,
        login_routes,
        worklist_routes,
        case_routes,
        label_routes,
        growth_routes,
        overview_routes,
    )
    routers = (*monailabel_routes.routers(), *(module.router for module in own))
    for router in routers:
        app.include_router(router, prefix=prefix)
    # in MONAI Label's own endpoints too, the user is who the gate let in
    app.dependency_overrides[get_current_user] = RequiredRole(ANYONE)
    uploads = UploadLimits(_upload_folders, conf.max_studies_bytes, conf.min_free_bytes, conf.uploads_per_minute)
    app.add_middleware(UploadAdmission)
    app.state.access_rules = AccessRules(routers, prefix)
    app.add_middleware(AccessGate, login=login, rules=app.state.access_rules)
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
