"""``fetaliqa users``: what it prints, and with which exit code."""

import io
import json

import pytest

from fetaliqa.cli.main import main

PASSWORD = "correct horse battery"


@pytest.fixture
def users(tmp_path, capsys, monkeypatch):
    def call(*words, typed=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = main(["users", words[0], "--studies", str(tmp_path), *words[1:]])
        return code, *capsys.readouterr()

    return call


def test_a_users_life_is_in_the_audit_log_without_any_secret(users, tmp_path):
    assert users("add", "anna", "--role", "annotator", "--password-stdin", typed=f"{PASSWORD}\n")[0] == 0
    assert users("role", "anna", "admin")[0] == 0
    code, secret, note = users("token", "anna", "--note", "slicer", "--days", "7")
    assert (code, secret.startswith("fiqt_")) == (0, True)
    assert "shown only now" in note
    listed = json.loads(users("list", "--json")[1])["users"][0]
    assert (listed["name"], listed["role"], listed["tokens"][0]["note"]) == ("anna", "admin", "slicer")
    assert listed["tokens"][0]["id"] in users("list")[1]
    assert users("token", "anna", "--revoke", listed["tokens"][0]["id"])[0] == 0
    assert users("passwd", "anna", "--password-stdin", typed="another long password")[0] == 0
    assert users("remove", "anna")[0] == 0
    shown = users("audit", "--json", "--user", "anna")[1]
    assert [entry["action"] for entry in json.loads(shown)["entries"]] == [
        "user removed",
        "password changed",
        "token revoked",
        "token made",
        "role changed",
        "user added",
    ]
    assert len(users("audit", "--what", "role changed")[1].splitlines()) == 1
    kept = shown + "".join(path.read_text() for path in (tmp_path / "access").iterdir())
    assert not any(text in kept for text in (PASSWORD, secret.strip(), "another long"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "anna", "--role", "annotator", "--password-stdin"), "exists"),
        (("add", "../eve", "--role", "user", "--password-stdin"), "../eve"),
        (("add", "eve", "--role", "user", "--password-stdin"), "5 characters"),
        (("add", "eve", "--role", "user"), "--password-stdin"),
        (("passwd", "eve", "--password-stdin"), "no user 'eve'"),
        (("remove", "eve"), "known: anna"),
        (("token", "anna", "--revoke", "none"), "no token"),
        (("token", "anna", "--days", "0"), "0 days"),
        (("audit", "--since", "yesterday"), "since 'yesterday'"),
        (("audit", "--limit", "0"), "limit 0"),
    ],
)
def test_bad_input_is_one_sentence(users, tmp_path, words, said):
    users("add", "anna", "--role", "annotator", "--password-stdin", typed=PASSWORD)
    before = (tmp_path / "access" / "users.json").read_bytes()
    code, out, errors = users(*words, typed="short\n")
    assert (code, out, len(errors.splitlines()), said in errors) == (2, "", 1, True), errors
    assert (tmp_path / "access" / "users.json").read_bytes() == before


def test_a_folder_that_does_not_exist_is_not_made(tmp_path, capsys):
    assert main(["users", "list", "--studies", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_the_first_user_of_an_archive_is_added_before_its_server_has_ever_started(tmp_path, capsys, monkeypatch):
    from monailabel_app.lib.access.login_setting import check_login
    from monailabel_app.lib.dicomweb.archive_address import studies_folder

    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path))
    archive = "http://archive.example:8042/dicom-web"
    assert main(["users", "list", "--studies", archive]) == 2
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))
    assert main(["users", "add", "anna", "--role", "admin", "--password-stdin", "--studies", archive]) == 0
    assert "anna can sign in" in capsys.readouterr().out
    assert check_login("0.0.0.0", None, None, archive, studies_folder(archive), keycloak=False)
