"""``/fetaliqa/v1/session`` and ``/auth``: sign-in of the page, and of MONAI Label's clients; the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import JSONResponse
from monailabel.config import settings

from monailabel_app.lib.access.access_gate import client_address
from monailabel_app.lib.access.audit_log import MAX_LIMIT, AuditQuery
from monailabel_app.lib.access.identity import Identity
from monailabel_app.lib.access.login_service import OwnLogin, current_login
from monailabel_app.lib.access.role_names import ADMIN as ADMIN_ROLE
from monailabel_app.lib.api.dependencies import ADMIN, ANYONE, USER
from monailabel_app.lib.http.json_input import JsonObject, takes_json
from monailabel_app.lib.http.refusal import Refused, as_refusal

router = APIRouter(tags=["Login"])

SESSION = "/fetaliqa/v1/session"
TEXT = {"type": "string", "minLength": 1}
BODY = takes_json({"user": TEXT, "password": {**TEXT, "format": "password"}}, required=("user", "password"))
NO_STORE = {"cache-control": "no-store"}


def _own_login() -> OwnLogin:
    login = current_login()
    if isinstance(login, OwnLogin):
        return login
    if login.required:
        raise Refused(404, "this server's users sign in with Keycloak (POST /auth/token), not with a session")
    raise Refused(404, "this server has no login; see --conf login")


@router.get(SESSION, summary="Who is signed in")
def get_session(user: Identity = ANYONE) -> JSONResponse:
    """``user`` is null when nobody is signed in; ``required`` tells whether that is needed."""
    required = current_login().required
    role = user.role if user.signed_in else None if required else ADMIN_ROLE
    return JSONResponse(
        {"user": user.username if user.signed_in else None, "role": role, "required": required}, headers=NO_STORE
    )


@router.post(SESSION, summary="Sign in with a password", openapi_extra=BODY)
def sign_in(request: Request, params: JsonObject, user: Identity = ANYONE) -> JSONResponse:
    """Sets a cookie that scripts cannot read. 401 when name or password is wrong, 429 after failures."""
    login = _own_login()
    name, password = _text(params, "user"), _text(params, "password")
    with as_refusal():
        account, secret = login.sign_in(name, password, client_address(request.scope))
        if login.has_cookie(request.headers):
            login.sign_out(request.headers, client_address(request.scope))
    answer = JSONResponse({"user": account.name, "role": account.role}, headers=NO_STORE)
    answer.set_cookie(
        login.cookie,
        secret,
        max_age=login.cookie_seconds,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@router.delete(SESSION, summary="Sign out")
def sign_out(request: Request, user: Identity = ANYONE) -> JSONResponse:
    """End the session, if there is one."""
    login = current_login()
    answer = JSONResponse({"user": None, "role": None, "required": login.required}, headers=NO_STORE)
    if isinstance(login, OwnLogin):
        with as_refusal():
            login.sign_out(request.headers, client_address(request.scope))
        answer.delete_cookie(
            login.cookie, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict"
        )
    return answer


def _text(params: dict[str, Any], key: str) -> str:
    value = params.get(key)
    if not isinstance(value, str) or not value:
        raise Refused(400, f'{key} is missing; send {{"user": name, "password": password}}')
    return value


@router.get("/fetaliqa/v1/audit", summary="The audit log, newest first")
def get_audit(
    name: str = "",
    action: str = "",
    since: str = "",
    until: str = "",
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 100,
    user: Identity = ADMIN,
) -> JSONResponse:
    """Entries of a user (``name``), an action, or a time (ISO 8601; ``until`` excluded)."""
    audit = current_login().audit
    if audit is None:
        raise Refused(404, "this server has no login, so it keeps no audit log")
    with as_refusal():
        entries = audit.read(AuditQuery(name, action, since, until, limit))
    return JSONResponse({"entries": entries, "limit": limit}, headers=NO_STORE)


# with Keycloak, MONAI Label's own router has these
monailabel_login = APIRouter(prefix="/auth", tags=["Auth"])


@monailabel_login.get("/", summary="Whether users sign in")
def auth_enabled(user: Identity = ANYONE) -> dict[str, Any]:
    """As in MONAI Label: its clients ask for a password when ``enabled`` is true."""
    enabled = current_login().required
    return {"enabled": enabled, "client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID, "realm": None}


@monailabel_login.post("/token", summary="Sign in with a password, for a token")
def auth_token(
    request: Request,
    username: Annotated[str, Form()],
    password: Annotated[str, Form()],
    user: Identity = ANYONE,
) -> JSONResponse:
    """As in MONAI Label. The token ends as a session does; ``fetaliqa users token`` makes lasting ones."""
    login = current_login()
    if not isinstance(login, OwnLogin):
        return JSONResponse({"access_token": None, "token_type": None}, headers=NO_STORE)
    with as_refusal():
        secret = login.sign_in(username, password, client_address(request.scope))[1]
    return JSONResponse({"access_token": secret, "token_type": "bearer"}, headers=NO_STORE)


@monailabel_login.get("/token/valid", summary="Who the token is of")
def auth_valid(user: Identity = USER) -> dict[str, Any]:
    """As in MONAI Label; 401 for a token that is not valid."""
    return user.model_dump()
