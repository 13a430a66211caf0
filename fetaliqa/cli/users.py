"""``fetaliqa users``: who may sign in to the server of a studies folder, their tokens, and the audit log."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monailabel_app.lib.access.audit_log import AuditLog
    from monailabel_app.lib.access.user_accounts import Accounts

ROLES = ("user", "annotator", "reviewer", "admin")
DEFAULT_DAYS = 365
MAX_LINE = 4096  # characters read from the standard input


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a user; the password is asked for")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", choices=ROLES, required=True, help="what the user may do (docs/access.md)")
    listing = actions.add_parser("list", help="users, roles and tokens")
    remove = actions.add_parser("remove", help="remove a user; sessions and tokens end, labels keep the name")
    remove.add_argument("name", metavar="NAME")
    passwd = actions.add_parser("passwd", help="change a password; sessions end, tokens stay")
    passwd.add_argument("name", metavar="NAME")
    role = actions.add_parser("role", help="change a role, from the next request on")
    role.add_argument("name", metavar="NAME")
    role.add_argument("role", choices=ROLES)
    token = actions.add_parser("token", help="make a token for 3D Slicer or a script, or revoke one")
    token.add_argument("name", metavar="NAME")
    token.add_argument("--note", default="", metavar="TEXT", help="what it is for")
    token.add_argument(
        "--days", type=int, default=DEFAULT_DAYS, metavar="N", help="until it expires (default: %(default)s)"
    )
    token.add_argument("--revoke", metavar="ID", help="revoke the token of this id, or all")
    audit = actions.add_parser("audit", help="the audit log, newest first")
    audit.add_argument("--user", default="", metavar="NAME", help="entries of a user")
    audit.add_argument("--what", default="", metavar="ACTION", help='entries of an action, such as "label saved"')
    audit.add_argument("--since", default="", metavar="TIME", help="ISO 8601, UTC without a zone")
    audit.add_argument("--until", default="", metavar="TIME", help="as --since; excluded")
    audit.add_argument("--limit", type=int, default=100, metavar="N", help="most entries (default: %(default)s)")
    for action in (add, passwd):
        action.add_argument(
            "--password-stdin", action="store_true", help="read the password from the standard input"
        )
    for action in (add, listing, remove, passwd, role, token, audit):
        action.add_argument(
            "--studies",
            required=True,
            metavar="STUDIES",
            help="as of the server: a folder, or an archive's address",
        )
    for action in (listing, audit):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.errors import NotFoundError
    from fetaliqa.extras import require_extra

    require_extra("server", "users of the server", {"monailabel": "monailabel", "argon2": "argon2-cffi"})

    from monailabel_app.lib.access.audit_log import AuditLog
    from monailabel_app.lib.access.user_accounts import Accounts
    from monailabel_app.lib.dicomweb.archive_address import (
        archive_folder,
        checked_address,
        is_address,
        studies_folder,
    )

    if args.action == "add" and is_address(args.studies):
        # its server does not start in a network before there is a user
        folder = archive_folder(checked_address(args.studies), None)
    else:
        folder = studies_folder(args.studies)
    if not folder.is_dir():
        raise NotFoundError(f"--studies {args.studies}: no such folder; check the path, or start its server first")
    doing = {"list": _list, "add": _add, "remove": _remove, "passwd": _passwd, "role": _role, "token": _token}
    if args.action == "audit":
        return _audit(args, AuditLog(folder))
    return doing[args.action](args, Accounts(folder), AuditLog(folder))


def _add(args: argparse.Namespace, accounts: Accounts, audit: AuditLog) -> int:
    from fetaliqa.errors import OptionError
    from monailabel_app.lib.access.user_accounts import checked_name

    if accounts.find(checked_name(args.name)) is not None:  # before the password is asked for
        raise OptionError(f"user {args.name} exists; change it with `fetaliqa users role` or `passwd`")
    account = accounts.add(args.name, args.role, _password(args))
    _record(audit, "user added", account.name, role=account.role)
    print(f"{account.name} can sign in with the role {account.role}")
    return 0


def _list(args: argparse.Namespace, accounts: Accounts, audit: AuditLog) -> int:
    users = [
        {
            "name": account.name,
            "role": account.role,
            "created": account.created,
            "tokens": [
                {"id": token.id, "note": token.note, "created": token.created, "expires": token.expires}
                for token in account.tokens
            ],
        }
        for account in accounts.all()
    ]
    if args.json:
        print(json.dumps({"users": users}, indent=2))
        return 0
    for account in accounts.all():
        print(f"{account.name}  {account.role}  since {account.created}")
        for token in account.tokens:
            print(f"  token {token.id}  until {token.expires}  {token.note}".rstrip())
    if not users:
        print("no users; add one with `fetaliqa users add NAME --role admin`")
    return 0


def _remove(args: argparse.Namespace, accounts: Accounts, audit: AuditLog) -> int:
    account = accounts.remove(args.name)
    _record(audit, "user removed", account.name)
    print(f"{account.name} can no longer sign in")
    return 0


def _passwd(args: argparse.Namespace, accounts: Accounts, audit: AuditLog) -> int:
    accounts.get(args.name)
    account = accounts.set_password(args.name, _password(args))
    _record(audit, "password changed", account.name)
    print(f"{account.name} has a new password; sessions have ended, tokens have not")
    return 0


def _role(args: argparse.Namespace, accounts: Accounts, audit: AuditLog) -> int:
    account = accounts.set_role(args.name, args.role)
    _record(audit, "role changed", account.name, role=account.role)
    print(f"{account.name} has the role {account.role}")
    return 0


def _token(args: argparse.Namespace, accounts: Accounts, audit: AuditLog) -> int:
    if args.revoke is not None:
        count = accounts.revoke_token(args.name, args.revoke)
        _record(audit, "token revoked", args.name, token=args.revoke)
        print(f"{count} token(s) of {args.name} revoked")
        return 0
    secret, token = accounts.add_token(args.name, args.note, args.days)
    _record(audit, "token made", args.name, token=token.id, note=token.note or None)
    print(f"token {token.id} of {args.name}, valid until {token.expires}; it is shown only now:", file=sys.stderr)
    print(secret)
    return 0


def _audit(args: argparse.Namespace, audit: AuditLog) -> int:
    from monailabel_app.lib.access.audit_log import AuditQuery

    entries = audit.read(AuditQuery(args.user, args.what, args.since, args.until, args.limit))
    if args.json:
        print(json.dumps({"entries": entries}, indent=2))
        return 0
    shown = ("time", "user", "address", "action")
    for entry in entries:
        details = "  ".join(f"{key} {value}" for key, value in entry.items() if key not in shown)
        who, where = entry.get("user") or "-", entry.get("address") or "command"
        print(f"{entry.get('time')}  {who}  {where}  {entry.get('action')}  {details}".rstrip())
    return 0


def _password(args: argparse.Namespace) -> str:
    """The password, typed twice, or from the standard input.

    Raises:
        OptionError: when there is none, or the two differ.
    """
    from fetaliqa.errors import OptionError

    if args.password_stdin:
        return sys.stdin.readline(MAX_LINE).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise OptionError("the password is asked for in a terminal; in a script, use --password-stdin")
    first = getpass.getpass(f"Password of {args.name}: ")
    if getpass.getpass("Once more: ") != first:
        raise OptionError("the two passwords differ; nothing was changed")
    return first


def _record(audit: AuditLog, action: str, name: str, **details: Any) -> None:
    try:
        by = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        by = "unknown"
    audit.add(action, None, None, by=by, account=name, **details)
