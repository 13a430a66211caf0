"""The page on a server that requires a login: real accounts, real sessions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from app_harness import Server, start, stop
from login_team import PASSWORD, SESSION
from workplace import SAMPLES, STILL, Workplace

from fetaliqa.labels import LabelStore
from monailabel_app.lib.access.user_accounts import Accounts

MODELS = {  # of a server that has trained
    "name": "fetalclip_seg",
    "current": "2",
    "served": {"name": "fetalclip_seg", "version": "2"},
    "follows": True,
    "versions": [{"version": one, "published": True, "sentence": "", "refused": None} for one in "12"],
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an annotator and an administrator, and one real still."""
    root = tmp_path_factory.mktemp("browser-login")
    studies = root / "studies"
    images = studies / "images" / "stacked_fetal_ultrasound"
    images.mkdir(parents=True)
    shutil.copyfile(SAMPLES / f"{STILL}.png", images / f"{STILL}.png")
    for name, role in (("anna", "annotator"), ("bob", "annotator"), ("adam", "admin")):
        Accounts(studies).add(name, role, PASSWORD)
    command = ["-m", "monailabel_app.serve", "--studies", str(studies), "--port", "0", "--conf", "login", "true"]
    conf = ["--conf", "device", "cpu", "--conf", "bundle", "abdomen", "--conf", "cache_dir", str(root / "cache")]
    running = start(root, [*command, *conf])
    yield running
    stop(running)
    assert "Traceback" not in (root / "server.log").read_text()


def sign_in(page: Any, user: str, password: str = PASSWORD) -> None:
    form = page.get_by_role("dialog")
    form.get_by_label("User").fill(user)
    form.get_by_label("Password").fill(password)
    form.get_by_role("button", name="Sign in").click()


def end_session(place: Workplace, server: Server) -> None:
    """End the session on the server, as another tab or an administrator would."""
    cookies = [one for one in place.context.cookies() if one["name"].startswith("fetaliqa_session_")]
    assert len(cookies) == 1
    assert cookies[0]["httpOnly"]
    header = {"Cookie": f"{cookies[0]['name']}={cookies[0]['value']}"}
    assert server.call("DELETE", SESSION, headers=header).status == 200


def raters(server: Server) -> list[tuple[str, str]]:
    """Who saved each version of the final label, and who is the rater of its frame."""
    history = LabelStore(server.studies / "label-versions").history(STILL, "final")
    return [(one.info["user"], one.record.frames[0].rater) for one in history if one.record is not None]


def test_signed_in_people_label_and_nothing_is_lost_when_the_session_ends(browser: Any, guarded: Server) -> None:
    place = Workplace(browser.new_context(viewport={"width": 1366, "height": 768}), guarded.url)
    page = place.page
    page.goto(guarded.url)
    sign_in(page, "anna", "wrong")
    refused = page.get_by_role("dialog").get_by_role("alert")
    refused.wait_for()
    assert len(refused.inner_text().splitlines()) == 1
    assert "assword" in refused.inner_text()
    sign_in(page, "anna")
    page.get_by_role("link", name=STILL).wait_for()
    page.get_by_role("button", name="anna").wait_for()
    place.open(STILL)
    place.press("d")
    place.submit(1)
    assert raters(guarded) == [("anna", "anna")]

    # in the middle of a case
    place.press("o")
    place.said("optimal plane")
    end_session(place, guarded)
    place.press("Control+Enter")
    page.get_by_role("heading", name="Sign in").wait_for()
    assert place.journal()[0]["frames"]["0"]["plane"] == "optimal"
    sign_in(page, "anna")
    place.said("Submitted as version 2.")

    # somebody else signs in instead: nothing of anna's is sent under that name
    place.press("s")
    place.said("suboptimal plane")
    end_session(place, guarded)
    place.press("Control+Enter")
    sign_in(page, "bob")
    place.said("bob signed in instead")
    page.get_by_role("button", name="bob").wait_for()
    assert [(work["rater"], work["frames"]["0"]["plane"]) for work in place.journal()] == [("anna", "suboptimal")]
    assert raters(guarded) == [("anna", "anna")] * 2
    place.check()
    place.context.close()


def test_an_annotator_is_not_offered_what_administrators_do(browser: Any, guarded: Server) -> None:
    offered = {}
    for user in ("anna", "adam"):
        place = Workplace(browser.new_context(viewport={"width": 1366, "height": 768}), guarded.url)
        page = place.page
        page.route("**/models/", lambda route: route.fulfill(json=MODELS))
        page.goto(f"{guarded.url}/#/learn")
        sign_in(page, user)
        page.get_by_role("heading", name="Versions").wait_for()
        names = ("Start training", "Publish", "Roll back to the version before")
        offered[user] = [name for name in names if page.get_by_role("button", name=name, exact=True).count()]
        offered[user] += [name for name in ("Export",) if page.get_by_role("link", name=name).count()]
        place.check()
        place.context.close()
    assert offered == {
        "anna": [],
        "adam": ["Start training", "Publish", "Roll back to the version before", "Export"],
    }
