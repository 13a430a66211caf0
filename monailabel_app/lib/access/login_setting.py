"""Whether a server requires a login: ``--conf login``, ``--conf open`` and the host that it listens on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from fetaliqa.errors import OptionError
from fetaliqa.extras import require_extra
from monailabel_app.lib.access.access_folder import access_folder
from monailabel_app.lib.http.hosts import check_open, is_loopback, switch

AUTO = "auto"


def login_switch(value: Any) -> bool | None:
    """The value of ``--conf login``; None for ``auto``.

    Raises:
        OptionError: for a value other than true, false and auto.
    """
    if value is None or str(value).strip().lower() in ("", AUTO):
        return None
    try:
        return switch("login", value)
    except OptionError:
        raise OptionError(f"--conf login {value}: must be true, false or auto") from None


def requires_login(host: str | None, login: Any, opened: Any, *, keycloak: bool = False) -> bool:
    """Whether accounts of the studies folder are needed.

    Args:
        host: that the server listens on; None where it is not known.
        login, opened: values of ``--conf login`` and ``--conf open``.
        keycloak: whether MONAI Label's login by Keycloak is enabled.

    Raises:
        OptionError: for values that cannot be used, or two logins.
    """
    chosen, is_open = login_switch(login), switch("open", opened or "false")
    if keycloak:
        if chosen:
            raise OptionError(
                "--conf login true: MONAI_LABEL_AUTH_ENABLE is set too; choose one of the two logins"
            )
        return False
    if chosen is not None:
        return chosen
    return host is not None and not is_loopback(host) and not is_open


def check_login(host: str | None, login: Any, opened: Any, studies: str, folder: Path, *, keycloak: bool) -> bool:
    """Whether the server requires a login with accounts, after checking that there are some.

    Args:
        host, login, opened, keycloak: see ``requires_login``.
        studies: as given to the server, for messages.
        folder: of the studies.

    Raises:
        OptionError: when nobody could sign in, or other machines could reach a server without a login.
    """
    if not requires_login(host, login, opened, keycloak=keycloak):
        if host is not None and not keycloak:
            check_open(host, opened)
        return False
    from monailabel_app.lib.access.user_accounts import FILE, Accounts

    if (access_folder(folder) / FILE).exists() and Accounts(folder).all():
        require_extra("server", "a login", {"argon2": "argon2-cffi"})
        return True
    command = f"fetaliqa users add NAME --role admin --studies {shlex.quote(studies)}"
    where = "--conf login true" if login_switch(login) else f"--host {host}"
    way_out = (
        "" if login_switch(login) else ", or say --conf open true to let everybody read and change all studies"
    )
    raise OptionError(
        f"{where}: the server requires a login, and there is no user yet; add one with `{command}`{way_out}"
    )
