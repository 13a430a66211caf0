"""Accounts, sessions, lock-out, audit log and Keycloak's tokens, without a server."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from fetaliqa.errors import FetalIQAError, NotFoundError, OptionError
from monailabel_app.lib.access import audit_log, failed_sign_ins
from monailabel_app.lib.access.access_folder import AccessError
from monailabel_app.lib.access.audit_log import AuditLog, AuditQuery
from monailabel_app.lib.access.failed_sign_ins import FailedSignIns, network_of
from monailabel_app.lib.access.login_sessions import IDLE_SECONDS, LONGEST_SECONDS, MAX_OF_USER, LoginSessions
from monailabel_app.lib.access.login_setting import check_login, requires_login
from monailabel_app.lib.access.user_accounts import Account, Accounts
from monailabel_app.lib.http.refusal import Refused

PASSWORD = "correct horse battery"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def anna(epoch: str = "1") -> Account:
    return Account("anna", "annotator", "", "2026-01-31T14:05:00+00:00", epoch)


# -- accounts -----------------------------------------------------------------------------------------


def test_accounts_are_private_atomic_and_seen_by_others(tmp_path: Path) -> None:
    accounts, others = Accounts(tmp_path), Accounts(tmp_path)
    assert others.all() == []
    accounts.add("anna", "annotator", PASSWORD)
    assert [account.name for account in others.all()] == ["anna"]
    assert PASSWORD not in accounts.folder.joinpath("users.json").read_text()
    assert "$argon2id$" in accounts.folder.joinpath("users.json").read_text()
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (accounts.folder, *accounts.folder.iterdir())
    }
    assert modes == {"access": 0o700, "users.json": 0o600, ".lock": 0o600}
    secret, token = accounts.add_token("ANNA", "slicer", 1)
    found = others.of_token(secret)
    assert found is not None
    assert found.name == "anna"
    assert secret not in accounts.folder.joinpath("users.json").read_text()
    assert others.of_token(secret + "x") is None
    others.revoke_token("anna", token.id)
    assert accounts.of_token(secret) is None


@pytest.mark.parametrize(
    ("name", "role", "password"),
    [
        ("", "admin", PASSWORD),
        ("../anna", "admin", PASSWORD),
        ("änna", "admin", PASSWORD),
        ("final", "admin", PASSWORD),
        ("a" * 65, "admin", PASSWORD),
        ("anna\n", "admin", PASSWORD),
        ("eve", "root", PASSWORD),
        ("eve", "admin", "short"),
        ("eve", "admin", "a" * 20),
        ("evangeline", "admin", "evangeline12"),
        ("eve", "admin", "ab" * 600),
        ("ANNA", "admin", PASSWORD),
    ],
)
def test_what_cannot_be_added_is_one_sentence_and_changes_nothing(
    tmp_path: Path, name: str, role: str, password: str
) -> None:
    accounts = Accounts(tmp_path)
    accounts.add("anna", "annotator", PASSWORD)
    before = (accounts.folder / "users.json").read_bytes()
    with pytest.raises(OptionError) as refused:
        accounts.add(name, role, password)
    assert len(str(refused.value).splitlines()) == 1
    assert len(password) < 6 or password not in str(refused.value)
    assert (accounts.folder / "users.json").read_bytes() == before


def test_unknown_users_and_tokens_are_named(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    for change in (
        lambda: accounts.remove("eve"),
        lambda: accounts.set_role("eve", "admin"),
        lambda: accounts.set_password("eve", PASSWORD),
        lambda: accounts.add_token("eve", "", 1),
    ):
        with pytest.raises(NotFoundError, match="eve"):
            change()
    accounts.add("anna", "user", PASSWORD)
    with pytest.raises(NotFoundError, match="no token"):
        accounts.revoke_token("anna", "0000")
    for days in (0, 4000):
        with pytest.raises(OptionError, match="days"):
            accounts.add_token("anna", "", days)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"schema": 2}',
        '{"schema": 1, "users": []}',
        '{"schema": 1, "users": {"a": {"role": "admin"}}}',
    ],
)
def test_a_damaged_file_is_never_taken_for_no_users(tmp_path: Path, content: str) -> None:
    accounts = Accounts(tmp_path)
    accounts.add("anna", "annotator", PASSWORD)
    (accounts.folder / "users.json").write_text(content)
    for reading in (accounts.all, lambda: accounts.add("eve", "admin", PASSWORD)):
        with pytest.raises(AccessError, match=r"users\.json"):
            reading()
    assert (accounts.folder / "users.json").read_text() == content
    with pytest.raises(AccessError):
        check_login("0.0.0.0", None, None, str(tmp_path), tmp_path, keycloak=False)


def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    Accounts(tmp_path).add("anna", "annotator", PASSWORD)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: Accounts(tmp_path).add_token("anna", str(number), 1), range(12)))
    assert {token.note for token in Accounts(tmp_path).get("anna").tokens} == {str(n) for n in range(12)}


# -- sessions -----------------------------------------------------------------------------------------


def test_sessions_survive_a_restart_and_end(tmp_path: Path, clock: Clock) -> None:
    sessions = LoginSessions(tmp_path, clock)
    secret = sessions.start(anna())
    assert secret not in (tmp_path / "access" / "sessions.json").read_text()
    again = LoginSessions(tmp_path, clock)
    for _ in range(5):  # in use
        clock.now += IDLE_SECONDS - 1
        assert again.find(secret) is not None
    clock.now += LONGEST_SECONDS - 5 * (IDLE_SECONDS - 1)
    assert again.find(secret) is None
    idle = again.start(anna())
    clock.now += IDLE_SECONDS
    assert again.find(idle) is None
    out = again.start(anna())
    assert again.end(out) is not None
    assert again.end(out) is None
    assert sessions.find(out) is None
    assert sessions.find("fiqs_none") is None
    clock.now -= 24 * 3600.0  # the clock is set back
    assert sessions.find(again.start(anna())) is not None


def test_sessions_of_a_user_are_bounded(tmp_path: Path, clock: Clock) -> None:
    sessions = LoginSessions(tmp_path, clock)
    secrets = []
    for _ in range(MAX_OF_USER + 3):
        secrets.append(sessions.start(anna()))
        clock.now += 1
    assert [sessions.find(secret) is not None for secret in secrets] == [False] * 3 + [True] * MAX_OF_USER


def test_a_damaged_or_unwritable_file_of_sessions_costs_only_signing_in_again(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = LoginSessions(tmp_path, clock)
    old = sessions.start(anna())
    (tmp_path / "access" / "sessions.json").write_text("{")
    assert sessions.find(old) is None
    monkeypatch.setattr("monailabel_app.lib.access.access_folder.atomic_path", _full)
    assert sessions.find(sessions.start(anna())) is not None


def _full(*arguments: Any) -> Any:
    raise OSError(28, "No space left on device")


# -- lock-out -----------------------------------------------------------------------------------------


def test_the_delay_grows_and_is_forgotten(clock: Clock) -> None:
    failures = FailedSignIns(clock)
    for _ in range(failed_sign_ins.FREE):
        assert failures.begin("anna", "192.0.2.1")[0] == 0
    waits = []
    for _ in range(10):
        wait, _ = failures.begin("ANNA", "192.0.2.1")
        waits.append(wait)
        clock.now += wait
        assert failures.begin("anna", "192.0.2.1")[0] == 0
    assert waits[:3] == [5, 10, 20]
    assert waits[-1] == failed_sign_ins.LONGEST_DELAY
    assert failures.begin("anna", "192.0.2.2")[0] == 0
    clock.now += failed_sign_ins.LONGEST_DELAY + failed_sign_ins.FORGET_SECONDS + 1
    assert failures.begin("anna", "192.0.2.1") == (0.0, False)


def test_success_ends_it_and_many_names_from_one_network_wait(clock: Clock) -> None:
    failures = FailedSignIns(clock)
    for _ in range(40):  # one who always mistypes once is not locked out, nor is the address
        failures.begin("anna", "192.0.2.1")
        failures.begin("anna", "192.0.2.1")
        failures.succeeded("anna", "192.0.2.1")
        clock.now += 200
    assert failures.begin("bob", "192.0.2.1")[0] == 0
    for number in range(failed_sign_ins.FREE_OF_ADDRESS):
        failures.begin(f"user{number}", f"2001:db8::{number + 1:x}")
    assert failures.begin("other", "2001:db8::ffff")[0] > 0
    assert failures.begin("other", "2001:db8:0:1::1")[0] == 0
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("unix") == "unix"


def test_its_memory_is_bounded(clock: Clock) -> None:
    failures = FailedSignIns(clock)
    for number in range(failed_sign_ins.MAX_ENTRIES + 500):
        failures.begin(f"user{number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(failures) == failed_sign_ins.MAX_ENTRIES


# -- audit log ----------------------------------------------------------------------------------------


def test_the_log_is_bounded_private_and_survives_a_cut_off_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "MAX_BYTES", 2000)
    audit = AuditLog(tmp_path)
    for number in range(300):
        audit.add("label saved", "anna", "127.0.0.1", image="ä\n" * 500, version=number)
    files = sorted((tmp_path / "access").glob("audit.jsonl*"))
    assert len(files) == audit_log.KEPT + 1
    assert all(file.stat().st_size <= 2000 for file in files)
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    newest = audit.read(AuditQuery(limit=10_000))
    assert [entry["version"] for entry in newest] == list(range(299, 299 - len(newest), -1))
    with open(audit.path, "ab") as file:
        file.write(b'{"time": "2026')
    audit.add("label removed", "bob")
    assert [entry["action"] for entry in audit.read(AuditQuery(limit=2))] == ["label removed", "label saved"]


def test_processes_append_at_once(tmp_path: Path) -> None:
    def append(name: int) -> None:
        audit = AuditLog(tmp_path)
        for _ in range(20):
            audit.add("label saved", str(name))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))
    lines = (tmp_path / "access" / "audit.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["user"] for line in lines) == sorted("0123" * 20)


def test_a_log_that_cannot_be_written_is_in_the_servers_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", _full)
    AuditLog(tmp_path).add("label saved", "anna", version=3)
    assert '"label saved"' in caplog.text
    assert "the disk is full" in caplog.text


# -- whether a login is required ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "login", "opened", "keycloak", "required"),
    [
        ("127.0.0.1", None, None, False, False),
        ("localhost", "auto", None, False, False),
        ("127.0.0.1", "true", None, False, True),
        ("0.0.0.0", None, None, False, True),
        ("0.0.0.0", "", "false", False, True),
        ("0.0.0.0", None, "true", False, False),
        ("0.0.0.0", "true", "true", False, True),
        ("0.0.0.0", "false", "true", False, False),
        ("0.0.0.0", None, None, True, False),
        (None, None, None, False, False),
    ],
)
def test_a_login_is_required_where_others_reach_the_server(
    host: str | None, login: str | None, opened: str | None, keycloak: bool, required: bool
) -> None:
    assert requires_login(host, login, opened, keycloak=keycloak) is required


def test_a_server_nobody_could_use_does_not_start(tmp_path: Path) -> None:
    studies = str(tmp_path / "two words")
    Path(studies).mkdir()
    for host, login in (("0.0.0.0", None), ("127.0.0.1", "true")):
        with pytest.raises(OptionError) as refused:
            check_login(host, login, None, studies, Path(studies), keycloak=False)
        assert f"`fetaliqa users add NAME --role admin --studies '{studies}'`" in str(refused.value)
    with pytest.raises(OptionError, match="no login"):
        check_login("0.0.0.0", "false", None, studies, Path(studies), keycloak=False)
    with pytest.raises(OptionError, match="one of the two"):
        check_login("0.0.0.0", "true", None, studies, Path(studies), keycloak=True)
    with pytest.raises(OptionError, match="true, false or auto"):
        check_login("0.0.0.0", "perhaps", None, studies, Path(studies), keycloak=False)
    Accounts(Path(studies)).add("anna", "admin", PASSWORD)
    assert check_login("0.0.0.0", None, None, studies, Path(studies), keycloak=False)
    assert not check_login("127.0.0.1", None, None, studies, Path(studies), keycloak=False)


# -- Keycloak -----------------------------------------------------------------------------------------


@pytest.fixture
def realm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A realm that gives its public key over HTTP; returns what signs tokens."""
    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from monailabel.config import settings

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    body = json.dumps({"public_key": "".join(pem.decode().splitlines()[1:-1])}).encode()

    class Realm(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Realm) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_REALM_URI", f"http://127.0.0.1:{server.server_port}/realm")
        yield lambda claims, algorithm="RS256", by=key: jwt.encode(claims, by, algorithm)
        server.shutdown()


def test_tokens_of_keycloak_give_name_and_highest_role(realm: Any, tmp_path: Path) -> None:
    from monailabel_app.lib.access.keycloak_login import KeycloakLogin

    login = KeycloakLogin(tmp_path)

    def identified(token: str) -> Any:
        return login.identify(Headers({"authorization": f"Bearer {token}"}))

    def claims(*roles: Any, **more: Any) -> dict[str, Any]:
        access = {"roles": ["offline_access", *roles]}
        return {"preferred_username": "anna", "realm_access": access, "exp": time.time() + 60, **more}

    reviewer = identified(realm(claims("monailabel-annotator", "monailabel-reviewer")))
    assert (reviewer.username, reviewer.role) == ("anna", "reviewer")
    assert "monailabel-user" in reviewer.roles
    assert not identified(realm(claims())).may("user")
    assert not identified(realm({**claims(), "realm_access": "monailabel-admin"})).may("user")
    assert login.identify(Headers({})) is None
    for token in (
        "none",
        realm(claims("monailabel-admin", exp=time.time() - 1)),
        realm(claims("monailabel-admin"), "HS256", "x" * 64),
        realm(claims("monailabel-admin"))[:-5] + "AAAAA",
        realm(claims("monailabel-admin", preferred_username=None)),
    ):
        with pytest.raises(Refused) as refused:
            identified(token)
        assert refused.value.status_code == 401


def test_a_realm_that_does_not_respond_is_no_bug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from monailabel.config import settings

    from monailabel_app.lib.access.keycloak_login import KeycloakLogin

    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_REALM_URI", "http://127.0.0.1:9/realm")
    with pytest.raises(FetalIQAError) as refused:
        KeycloakLogin(tmp_path).identify(Headers({"authorization": "Bearer x"}))
    assert refused.value.http_status == 503
