"""A server that other machines can reach: users sign in, roles decide, labels carry who saved them."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from app_harness import REPOSITORY, start, stop, write_case
from login_team import CASES, PASSWORD, PEOPLE, SESSION, Team, judged, mask
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException
from starlette.routing import Mount

from monailabel_app.lib.access.role_names import ANYONE, ROLES, rank
from monailabel_app.lib.access.user_accounts import Accounts


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Team]:
    root = tmp_path_factory.mktemp("login")
    for number, case in enumerate(CASES):
        write_case(root / "studies" / f"{case}.mha", 6, seed=number)
    accounts = Accounts(root / "studies")
    tokens = {}
    for name, role in PEOPLE.items():
        accounts.add(name, role, PASSWORD)
        tokens[name] = accounts.add_token(name, "tests", 1)[0]
    command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", "0"]
    command += ["--host", "0.0.0.0", "--conf", "bundle", str(bundle), "--conf", "cache_dir", str(root / "cache")]
    server = start(root, [*command, "--conf", "models", "fetalclip_seg"])
    yield Team(server, tokens)
    stop(server)
    said = (root / "server.log").read_text()
    assert "Traceback" not in said
    kept = said + "".join(path.read_text() for path in (root / "studies" / "access").glob("*.json*"))
    assert [secret for secret in (PASSWORD, *tokens.values()) if secret in kept] == []


# -- who may do what ----------------------------------------------------------------------------------

ROW = re.compile(r"^\| (anyone|user|annotator|reviewer|admin) \| ([^|]+) \| ([^|]+) \|([^|]*)\|$", re.MULTILINE)


def documented() -> dict[tuple[str, str], tuple[str, str]]:
    """Role and name in the audit log by method and path, as docs/access.md has them."""
    rows = {}
    for role, _, requests, action in ROW.findall((REPOSITORY / "docs" / "access.md").read_text()):
        for method, path in re.findall(r"`([A-Z]+) (/[^`]*)`", requests):
            assert (method, path) not in rows, path
            rows[method, path] = (role, action.strip())
    return rows


def test_the_documented_table_is_that_of_the_endpoints(team: Team) -> None:
    from monailabel_app.front import app  # in this process, without a login

    rows = documented()
    rules = {(rule.method, rule.path): rule for rule in app.state.access_rules.rules}
    assert {key: rule.role for key, rule in rules.items()} == {key: role for key, (role, _) in rows.items()}
    for key, rule in rules.items():
        if rule.role != ANYONE:
            assert rows[key][1] == (rule.action or ""), key
    described = team.server.raw("GET", "/openapi.json").json()["paths"]
    offered = {(method.upper(), path) for path, methods in described.items() for method in methods}
    assert len(offered) > 50
    assert offered <= set(rows)
    for route in app.routes:  # pages and folders of files, which no router holds
        path = getattr(route, "path", None)
        if path is not None:
            assert ("GET", f"{path}/{{file:path}}" if isinstance(route, Mount) else path) in rows


@pytest.mark.parametrize("role", [ANYONE, *ROLES])
def test_every_endpoint_answers_each_role_as_the_table_says(team: Team, role: str) -> None:
    who = next((name for name, one in PEOPLE.items() if one == role), None)
    wrong = []
    for (method, path), (needed, _) in documented().items():
        target = path.replace("{file:path}", "swagger-ui.css")
        target = re.sub(r"{\w+}", "none", target)
        writes = method not in ("GET", "HEAD")
        # not JSON, and no form: refused, but only after the role was checked
        parts = {"data": b"{", "headers": {"Content-Type": "application/json"}} if writes else {}
        answer = team.call(who, method, target, **parts)
        if rank(role) >= rank(needed):
            right = answer.status not in (401, 403)
        else:
            right = answer.status == (401 if role == ANYONE else 403)
        if not right or answer.status >= 500:
            wrong.append((method, path, needed, answer.status))
    assert wrong == []


def test_what_no_endpoint_has_tells_a_stranger_nothing(team: Team) -> None:
    for method, target in (("GET", "/none"), ("GET", "//info/"), ("POST", "/docs"), ("GET", "/assets/../info/")):
        assert team.server.raw(method, target).status in (400, 401), target
        assert team.call("vera", method, target).status in (400, 404, 405), target


# -- signing in ---------------------------------------------------------------------------------------


def test_a_session_is_a_cookie_that_scripts_and_other_sites_cannot_use(team: Team) -> None:
    signed_in = team.sign_in("ANNA")
    assert (signed_in.status, signed_in.json()) == (200, {"user": "anna", "role": "annotator"})
    cookie, *attributes = re.split(r"; ", signed_in.headers["set-cookie"])
    assert {one.lower() for one in attributes} == {"httponly", "samesite=strict", "path=/", "max-age=43200"}
    has = {"Cookie": f"other=1; bad name; {cookie}"}
    me = {"user": "anna", "role": "annotator", "required": True}
    assert team.server.call("GET", SESSION, headers=has).json() == me
    assert team.server.call("GET", "/info/", headers=has).status == 200
    forged = team.server.call("DELETE", SESSION, headers={**has, "Origin": "http://evil.example"})
    assert forged.status == 403
    own = {**has, "Origin": team.server.url, "Sec-Fetch-Site": "same-origin"}
    assert team.server.call("POST", "/activelearning/random", headers=own, json={}).status == 200
    assert team.server.call("DELETE", SESSION, headers=own).status == 200
    assert team.server.call("GET", "/info/", headers=has).status == 401
    nobody = {"user": None, "role": None, "required": True}
    assert team.server.call("GET", SESSION, headers=has).json() == nobody


def test_a_cookie_is_secure_behind_a_proxy_with_tls(team: Team) -> None:
    signed_in = team.sign_in("anna", **{"X-Forwarded-Proto": "https"})
    assert "; Secure" in signed_in.headers["set-cookie"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"user": "anna"}', 400),
        (b'{"user": ["anna"], "password": "x"}', 400),
        (b'{"user": "anna", "password": 1}', 400),
        (b'{"user": "", "password": ""}', 400),
        (b'{"user": "anna", "user": "bob", "password": "x"}', 400),
        (b'{"user": "\\u0000", "password": "correct horse battery"}', 401),
        (b'{"user": "../users.json", "password": "correct horse battery"}', 401),
        ('{"user": "änna", "password": "pässwört"}'.encode(), 401),
        (b'{"user": "\\ud800", "password": "x"}', 400),
        (b'{"user": "' + b"a" * 5000 + b'", "password": "x"}', 401),
        (b'{"user": "eve", "password": "' + b"a" * 5000 + b'"}', 401),
        (b'{"user": "eve", "password": "' + b"a" * 70_000 + b'"}', 413),
        (b"\xff\xfe", 400),
    ],
)
def test_bad_sign_ins_are_one_sentence_without_the_password(team: Team, body: bytes, status: int) -> None:
    answer = team.server.raw("POST", SESSION, body, {"Content-Type": "application/json"})
    assert (answer.status, "set-cookie" in answer.headers) == (status, False)
    assert not any(word in answer.detail for word in ("battery", "pässwört", "aaaa"))


def test_unknown_users_and_wrong_passwords_read_the_same(team: Team) -> None:
    wrong, unknown = team.sign_in("vera", "wrong password"), team.sign_in("nobody", "wrong password")
    assert (wrong.status, wrong.body) == (unknown.status, unknown.body) == (401, wrong.body)


def test_who_is_not_signed_in_cannot_send_a_file(team: Team) -> None:
    large = {"file": ("x.mha", bytes(3 * 1024**2))}
    assert team.server.call("PUT", "/datastore/image?image=x", files=large).status == 401
    assert team.server.call("POST", "/auth/token", files=large).status == 413
    assert team.server.leftovers() == []


def test_after_failures_a_user_waits_at_one_address_and_nobody_else_does(team: Team) -> None:
    def attempt(user: str, password: str, source: str) -> tuple[int, str | None]:
        connection = http.client.HTTPConnection(*team.server.address, timeout=60, source_address=(source, 0))
        body = json.dumps({"user": user, "password": password})
        connection.request("POST", SESSION, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.headers["Retry-After"]

    for _ in range(5):
        assert attempt("bob", "wrong password", "127.0.0.3")[0] == 401
    status, wait = attempt("bob", PASSWORD, "127.0.0.3")
    assert (status, 0 < int(wait or 0) <= 5) == (429, True)
    assert attempt("bob", PASSWORD, "127.0.0.4")[0] == 200
    assert attempt("anna", PASSWORD, "127.0.0.3")[0] == 200
    assert [one["delayed"] for one in team.audit(name="bob", action="sign-in%20failed") if "delayed" in one] == [
        True
    ]


def test_many_at_once_do_not_take_all_threads(team: Team) -> None:
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda number: team.sign_in(f"eve{number}", "wrong password"), range(24)))
    assert {answer.status for answer in answers} <= {401, 429, 503}
    assert all("retry-after" in answer.headers for answer in answers if answer.status == 503)
    assert team.call("anna", "GET", "/info/").status == 200


def test_accounts_that_change_on_the_disk_change_at_once(team: Team) -> None:
    accounts = team.accounts
    accounts.add("carl", "annotator", PASSWORD)
    cookie = {"Cookie": team.cookie("carl")}
    token, entry = accounts.add_token("carl", "", 1)
    assert team.server.call("GET", "/train/", headers=cookie).status == 404  # there was none
    assert team.call(token, "GET", "/logs/?text=true").status == 403
    accounts.set_role("carl", "admin")
    assert team.call(token, "GET", "/logs/?text=true").status == 200
    accounts.set_password("carl", "another long password")
    assert team.server.call("GET", "/info/", headers=cookie).status == 401
    assert team.call(token, "GET", "/info/").status == 200
    accounts.revoke_token("carl", entry.id)
    assert team.call(token, "GET", "/info/").status == 401
    again = team.sign_in("carl", "another long password").headers["set-cookie"].partition(";")[0]
    accounts.remove("carl")
    assert team.server.call("GET", "/info/", headers={"Cookie": again}).status == 401


def test_damaged_accounts_let_nobody_in_and_say_so(team: Team) -> None:
    file = team.server.studies / "access" / "users.json"
    content = file.read_bytes()
    file.write_text('{"schema": 1, "users": {"anna": 1')
    try:
        answers = [team.call("anna", "GET", "/info/"), team.sign_in("anna")]
    finally:
        file.write_bytes(content)
    assert [(one.status, "users.json" in one.detail) for one in answers] == [(503, True)] * 2
    assert team.call("anna", "GET", "/info/").status == 200


def test_monai_labels_own_client_signs_in_with_a_password(team: Team) -> None:
    client = MONAILabelClient(team.server.url)
    assert client.auth_enabled()
    with pytest.raises(MONAILabelClientException):
        client.auth_token("rita", "wrong password")
    assert not client.auth_valid_token()
    client.update_auth(client.auth_token("rita", PASSWORD))
    assert client.auth_valid_token()
    assert "fetalclip_seg" in client.info()["models"]
    token = client._headers["Authorization"].split()[1]
    assert team.call(token, "GET", "/auth/token/valid").json()["username"] == "rita"
    assert "monailabel-reviewer" in team.call(token, "GET", "/auth/token/valid").json()["roles"]


# -- labels -------------------------------------------------------------------------------------------


def test_an_expired_session_in_the_middle_of_a_case_loses_nothing(team: Team) -> None:
    cookie = {"Cookie": team.cookie("anna")}
    saved = team.save(None, "case_d", "anna", judged("anna", f0="annotated"), headers=cookie)
    assert (saved.status, saved.json()["version"]) == (200, 1)
    file = team.server.studies / "access" / "sessions.json"
    sessions = json.loads(file.read_text())
    for session in sessions["sessions"].values():
        session["started"] -= 13 * 3600.0
    file.write_text(json.dumps(sessions))
    record = judged("anna", f0="annotated", f2="annotated")
    again = {"record": record, "drawn": (0, 2), "params": {"based_on": 1}}
    refused = team.save(None, "case_d", "anna", headers=cookie, **again)
    assert (refused.status, "sign in" in refused.detail) == (401, True)
    assert team.info("case_d", "anna")["version"] == 1
    cookie = {"Cookie": team.cookie("anna")}
    assert team.save(None, "case_d", "anna", headers=cookie, **again).json()["version"] == 2


def test_two_annotators_and_a_reviewer(team: Team) -> None:
    claimed = {"user": "bob", "rater": "bob", "client_id": "bob", "params": {"rater": "bob"}}
    saved = team.save("anna", "case_a", "anna", judged("bob", f0="annotated", f1="empty"), params=claimed)
    assert saved.status == 200, saved.body
    info = team.info("case_a", "anna")
    assert (info["user"], info["rater"], info["params"]["rater"]) == ("anna",) * 3
    assert {one["rater"] for one in info["frame_record"]["frames"].values()} == {"anna"}

    assert team.save("bob", "case_a", "anna").status == 403  # a label of another person
    assert team.save("bob", "case_a", "ANNA").status == 403
    assert team.save("bob", "case_a", "bob", judged(None, f3="annotated"), drawn=(3,)).status == 200
    assert team.info("case_a", "bob")["frame_record"]["frames"]["3"]["rater"] == "bob"

    review = "/datastore/label/review?label=case_a&tag=anna&version=1"
    accepted = {"data": {"state": "accepted"}}
    assert team.call("bob", "POST", review, **accepted).status == 403
    assert team.call("rita", "POST", review, **accepted).json()["reviews"][-1]["reviewer"] == "rita"
    pick = "/datastore/label/pick?label=case_a&tag=anna&version=1"
    assert team.call("rita", "POST", pick).json()["picked_from"]["reviewer"] == "rita"

    # bob goes on from what anna outlined: frame 0 as it was, frame 1 judged anew, frame 2 new; later 0 changed
    record = judged("anna", f0="annotated", f1="empty", f2="annotated")
    record["frames"]["1"]["time"] = "2026-02-01T10:00:00+00:00"
    assert team.save("bob", "case_a", "final", record, drawn=(0, 2)).status == 200
    frames = team.info("case_a", "final")["frame_record"]["frames"]
    assert [frames[number]["rater"] for number in "012"] == ["anna", "bob", "bob"]
    record = judged("anna", f0="annotated", f1="empty")
    changed = {"label": ("mask.nii.gz", mask(team.server.studies / "case_a.mha", (0,), wider=5))}
    target = "/datastore/label?image=case_a&tag=final"
    data = {"params": json.dumps({"frame_record": record})}
    assert team.call("bob", "PUT", target, files=changed, data=data).status == 200
    assert team.info("case_a", "final")["frame_record"]["frames"]["0"]["rater"] == "bob"

    restore = "/datastore/label/restore?label=case_a&tag=anna&version=1"
    assert team.call("bob", "POST", restore).status == 403
    assert team.call("anna", "POST", restore).json()["user"] == "anna"
    described = {"data": {"info": json.dumps({"user": "rita", "note": "x"})}}
    assert team.call("bob", "PUT", "/datastore/label/info?label=case_a&tag=bob", **described).status == 200
    assert team.info("case_a", "bob")["user"] == "bob"
    assert team.call("bob", "DELETE", "/datastore/label?id=case_a&tag=bob").status == 403


def test_a_label_as_run_lengths_is_of_who_is_signed_in(team: Team) -> None:
    label = {"masks": {}, "frame_record": judged("bob", f0="empty"), "rater": "bob"}
    target = "/fetaliqa/v1/label?image=case_d&tag="
    refused = team.call("anna", "POST", f"{target}bob", json=label)
    assert (refused.status, "label bob is of bob" in refused.detail) == (403, True)
    assert team.call("vera", "POST", f"{target}final", json=label).status == 403
    saved = team.call("anna", "POST", f"{target}final", json=label)
    assert saved.status == 200, saved.body
    info = team.info("case_d", "final")
    assert (info["user"], info["rater"], info["frame_record"]["frames"]["0"]["rater"]) == ("anna",) * 3
    entry = team.audit()[0]
    assert (entry["user"], entry["action"]) == ("anna", "label saved")
    assert (entry["image"], entry["tag"], entry["version"]) == ("case_d", "final", saved.json()["version"])


def test_labels_without_a_record_and_confirmations_carry_the_name(team: Team) -> None:
    assert team.save("anna", "case_b", "final", params={"user": "bob"}).status == 200
    assert team.info("case_b", "final")["user"] == "anna"
    confirm = "/datastore/label/confirm?label=case_b"
    assert team.call("anna", "POST", confirm).status == 403
    confirmed = team.call("rita", "POST", confirm)
    assert confirmed.status == 200, confirmed.body
    assert team.info("case_b", "final")["frame_record"]["frames"]["0"]["rater"] == "rita"


def test_a_lease_is_of_who_is_signed_in(team: Team) -> None:
    first = team.call("anna", "POST", "/activelearning/random", json={"user": "bob"}).json()["id"]
    second = team.call("bob", "POST", "/activelearning/random", json={"user": "anna"}).json()["id"]
    assert first != second
    released = team.call("anna", "DELETE", "/activelearning/lease?user_name=bob").json()
    assert released == {"released": "anna"}


def test_a_viewer_may_assess_but_not_store_the_proposal(team: Team) -> None:
    stored = {"data": {"params": json.dumps({"save_label": True})}}
    target = "/infer/fetalclip_seg?image=no_such_case"  # nothing is computed
    assert team.call("vera", "POST", target).status == 404
    assert team.call("vera", "POST", target, **stored).status == 403
    assert team.call("anna", "POST", target, **stored).status == 404


# -- the audit log ------------------------------------------------------------------------------------


def test_the_audit_log_says_who_did_what_and_only_to_admins(team: Team) -> None:
    before = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    assert team.sign_in("mistyped-password-in-the-wrong-field", "x").status == 401
    team.cookie("rita")
    assert team.save("anna", "case_c", "anna", judged("anna", f0="annotated")).status == 200
    assert team.call("vera", "POST", "/models/rollback").status == 403
    assert team.call("adam", "POST", "/models/rollback").status == 409  # not done, so not recorded
    entries = team.audit(since=before)
    assert [(one["user"], one["action"]) for one in reversed(entries)] == [
        (None, "sign-in failed"),
        ("rita", "signed in"),
        ("anna", "label saved"),
        ("vera", "refused"),
    ]
    saved = entries[1]
    assert (saved["image"], saved["tag"], saved["version"]) == ("case_c", "anna", 1)
    assert saved["address"] == "127.0.0.1"
    assert entries[0]["request"] == "POST /models/rollback"
    assert "mistyped" not in json.dumps(entries)
    assert [one["action"] for one in team.audit(since=before, name="ANNA")] == ["label saved"]
    assert team.audit(since="2100-01-01") == []
    for who in ("vera", "anna", "rita"):
        assert team.call(who, "GET", "/fetaliqa/v1/audit").status == 403
    for query in ("since=yesterday", "until=2026-13-01", "limit=0", "limit=x", "limit=100000"):
        assert team.call("adam", "GET", f"/fetaliqa/v1/audit?{query}").status == 400, query


def test_the_log_says_that_it_is_reachable_without_tls(team: Team) -> None:
    said = (team.server.root / "server.log").read_text()
    assert "users sign in. Without a proxy with TLS" in said
    assert "OPEN TO THE NETWORK" not in said
