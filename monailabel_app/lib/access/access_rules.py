"""Which role a request needs, and what it is called in the audit log; docs/access.md is the same as a table.

The role is declared where the endpoint is: ``user: Any = ANNOTATOR`` (``monailabel_app.lib.api.dependencies``), or
MONAI Label's own ``RBAC``. An endpoint that declares none needs the role admin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from re import Pattern
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from monailabel.endpoints.user.auth import RBAC
from starlette.routing import compile_path

from monailabel_app.lib.access.identity import RequiredRole, monailabel_roles
from monailabel_app.lib.access.role_names import ADMIN, ANYONE, USER, rank

PAGES = ("/", "/docs", "/openapi.json", "/assets/{file:path}", "/web/{file:path}")  # nothing of the studies
# of MONAI Label, for signing in with Keycloak; they declare no role
KEYCLOAK = (("GET", "/auth/"), ("POST", "/auth/token"), ("GET", "/auth/token/valid"))

ACTIONS = {
    ("PUT", "/datastore/"): "image added",
    ("PUT", "/datastore/image"): "image added",
    ("DELETE", "/datastore/"): "image removed",
    ("DELETE", "/datastore/image"): "image removed",
    ("PUT", "/datastore/image/info"): "image described",
    ("PUT", "/fetaliqa/v1/case/age"): "age given",
    ("PUT", "/datastore/label"): "label saved",
    ("POST", "/fetaliqa/v1/label"): "label saved",
    ("DELETE", "/datastore/label"): "label removed",
    ("PUT", "/datastore/label/info"): "label described",
    ("PUT", "/datastore/updatelabelinfo"): "label described",
    ("POST", "/datastore/label/restore"): "label restored",
    ("POST", "/datastore/label/review"): "label reviewed",
    ("POST", "/datastore/label/confirm"): "frames confirmed",
    ("POST", "/datastore/label/pick"): "label picked",
    ("GET", "/datastore/dataset"): "data set downloaded",
    ("POST", "/export/"): "export started",
    ("GET", "/export/{job_id}/zip"): "export downloaded",
    ("DELETE", "/export/{job_id}"): "export removed",
    ("POST", "/train/"): "training started",
    ("POST", "/train/{model}"): "training started",
    ("DELETE", "/train/"): "training stopped",
    ("POST", "/scoring/"): "scoring started",
    ("POST", "/scoring/{method}"): "scoring started",
    ("DELETE", "/scoring/"): "scoring stopped",
    ("POST", "/batch/infer/{model}"): "batch started",
    ("DELETE", "/batch/infer"): "batch stopped",
    ("POST", "/models/publish"): "model published",
    ("POST", "/models/rollback"): "model rolled back",
    ("GET", "/model/{model}"): "model downloaded",
    ("POST", "/archive/refresh"): "archive searched",
    ("GET", "/fetaliqa/v1/audit"): "audit log read",
}


@dataclass(frozen=True)
class Rule:
    """What a request needs.

    Attributes:
        method, path: of the requests; the path with its parameters in braces.
        role: least role.
        action: name in the audit log; None: it is not recorded.
    """

    method: str
    path: str
    role: str
    action: str | None = None


class AccessRules:
    """The rules of all endpoints.

    Args:
        routers: of the app, in the order in which it has them.
        prefix: of their paths.
    """

    def __init__(self, routers: Iterable[APIRouter], prefix: str = "") -> None:
        rules: dict[tuple[str, str], Rule] = {}
        for router in routers:
            for rule in _rules_of(router, prefix):
                rules.setdefault((rule.method, rule.path), rule)
        self.rules = (*rules.values(), *(Rule("GET", path, ANYONE) for path in PAGES))
        self._patterns: list[tuple[Pattern[str], Rule]] = [
            (compile_path(rule.path)[0], rule) for rule in self.rules
        ]

    def of(self, method: str, path: str) -> Rule | None:
        """The rule of a request; None when no endpoint has this method and path."""
        for pattern, rule in self._patterns:
            same = rule.method == method or (method == "HEAD" and rule.method == "GET" and rule.role == ANYONE)
            if same and pattern.match(path):
                return rule
        return None


def _rules_of(router: APIRouter, prefix: str) -> Iterator[Rule]:
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise TypeError(f"{route!r}: a router holds endpoints only, whose roles can be read")
        for method in sorted(route.methods or ()):
            role = _role(route.dependant)
            if role is None:
                role = ANYONE if (method, route.path) in KEYCLOAK else ADMIN
            yield Rule(method, prefix + route.path, role, ACTIONS.get((method, route.path)))


def _role(dependant: Any) -> str | None:
    """The highest role that an endpoint declares; None when it declares none."""
    declared = []
    waiting = list(dependant.dependencies)
    while waiting:
        one = waiting.pop()
        waiting += one.dependencies
        if isinstance(one.call, RequiredRole):
            declared.append(one.call.role)
        elif isinstance(one.call, RBAC):
            roles = [one.call.roles] if isinstance(one.call.roles, str) else list(one.call.roles)
            names = monailabel_roles()
            declared.append(USER if "*" in roles else min((names.get(each, ADMIN) for each in roles), key=rank))
    return max(declared, key=rank, default=None)
