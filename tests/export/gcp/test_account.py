"""Credentials are found and renewed with one request each, and no failure of theirs is anything but an Outcome."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from obskit.export.delivery.exporter import UNREACHABLE
from obskit.export.gcp.account import Account, Failed, find_account
from tests.export.receiver import free_port, run
from tests.logs.cloud import google_fakes

SCOPES = ("https://www.googleapis.com/auth/trace.append",)
TOKEN = {"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer", "email": "a@p.iam.gserviceaccount.com"}

pytest.importorskip("google.auth", reason="needs the extra gcp")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "NO_GCE_CHECK"):
        monkeypatch.delenv(name, raising=False)


class Server:
    """Answers every request alike, and counts them."""

    address = ""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.status = 200
        self.content: dict[str, Any] = TOKEN

    def answer(self, _method: str, path: str, _body: bytes, _headers: Any) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(path)
        kind = {"Content-Type": "application/json", "Metadata-Flavor": "Google"}
        return self.status, kind, json.dumps(self.content).encode()


def failure(find: Any) -> Any:
    with pytest.raises(Failed) as caught:
        find()
    return caught.value.outcome


def test_nobodys_account_has_no_headers():
    account = find_account(SCOPES, anonymous=True)
    assert (account.headers(1.0), account.project) == ({}, None)
    account.expire()


@pytest.fixture
def tokens() -> Iterator[Server]:
    server = Server()
    with google_fakes.serve_http(server.answer) as address:
        server.address = f"http://{address}"
        yield server


@pytest.fixture
def account(tokens, tmp_path) -> Account:
    return find_account(SCOPES, str(google_fakes.make_key_file(tmp_path, tokens.address)))


def test_a_key_files_account_knows_its_project_and_renews_only_what_expired(account, tokens):
    assert account.project == "the-accounts-project"
    assert account.headers(5.0)["authorization"] == "Bearer a-token"
    assert account.headers(5.0) == account.headers(5.0)
    assert len(tokens.requests) == 1
    account.expire()
    account.headers(5.0)
    assert len(tokens.requests) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_token_server_in_trouble_is_asked_once(account, tokens, status):
    tokens.status = status
    outcome = failure(lambda: account.headers(5.0))
    assert (outcome.reason, outcome.retry, len(tokens.requests)) == ("no_credentials", True, 1)
    assert f"/token answered {status}" in outcome.detail


def test_a_token_that_is_denied_is_final(account, tokens):
    tokens.status, tokens.content = 400, {"error": "invalid_grant", "error_description": "Account deleted"}
    outcome = failure(lambda: account.headers(5.0))
    assert (outcome.reason, outcome.retry) == ("no_credentials", False)
    assert "Account deleted" in outcome.detail


def test_a_token_server_that_is_not_there_may_come(tmp_path):
    account = find_account(SCOPES, str(google_fakes.make_key_file(tmp_path, f"http://127.0.0.1:{free_port()}")))
    outcome = failure(lambda: account.headers(5.0))
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)


def test_a_token_server_that_never_answers_takes_no_longer_than_was_given(tmp_path):
    with google_fakes.silence() as address:
        account = find_account(SCOPES, str(google_fakes.make_key_file(tmp_path, f"http://{address}")))
        outcome = failure(lambda: account.headers(0.2))
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)
    assert "timed out" in outcome.detail


@pytest.mark.parametrize("content", ["", "{}", '{"type": "service_account"}'])
def test_a_key_file_that_is_none_says_so(content, tmp_path):
    file = tmp_path / "key.json"
    file.write_text(content)
    outcome = failure(lambda: find_account(SCOPES, str(file)))
    assert (outcome.reason, outcome.retry) == ("no_credentials", False)
    assert outcome.detail


FIND = """
from obskit.export.gcp.account import Failed, find_account
try:
    account = find_account((), timeout=TIMEOUT)
    print(account.headers(TIMEOUT), account.project)
except Failed as failed:
    print(failed.outcome.reason, failed.outcome.retry, failed.outcome.detail)
"""


def find_by_default(address: str, folder: Path, timeout: float = 10.0) -> str:
    """What a program finds whose metadata server is ``address``: google-auth reads these variables when imported."""
    where = {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address, "CLOUDSDK_CONFIG": str(folder)}
    done = run(FIND.replace("TIMEOUT", str(timeout)), **where)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_on_google_cloud_the_metadata_server_names_the_account(tokens, tmp_path):
    assert "Bearer a-token" in find_by_default(tokens.address.removeprefix("http://"), tmp_path)


def test_a_metadata_server_in_trouble_is_asked_once(tokens, tmp_path):
    tokens.status = 503
    said = find_by_default(tokens.address.removeprefix("http://"), tmp_path)
    assert said.startswith("no_credentials True no credentials were found (")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in said
    assert len(tokens.requests) == 1


def test_a_metadata_server_that_never_answers_is_asked_for_as_long_as_was_given(tmp_path):
    with google_fakes.silence() as address:
        said = find_by_default(address, tmp_path, timeout=0.2)
    assert said.startswith("no_credentials True ")
    assert "timed out" in said


LOGGED = """
import logging
logging.basicConfig(format="%(name)s")
logging.getLogger("google").setLevel("WARNING")  # else newer versions keep it all from the root logger
import google.auth
def ask():
    try:
        google.auth.default()
    except google.auth.exceptions.DefaultCredentialsError as error:
        print("none")
"""


def test_what_google_auth_logs_of_our_attempts_is_not_the_applications_and_of_its_own_is(tmp_path):
    def answer(*_: Any) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, b""  # somebody else's server

    with google_fakes.serve_http(answer) as address:
        where = {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address, "CLOUDSDK_CONFIG": str(tmp_path)}
        ours = run(LOGGED + FIND.replace("TIMEOUT", "10.0"), **where)
        both = run(LOGGED + FIND.replace("TIMEOUT", "10.0") + "ask()", **where)
    assert (ours.returncode, ours.stderr) == (0, "")
    assert ours.stdout.startswith("no_credentials True ")
    assert (both.returncode, set(both.stderr.split())) == (0, {"google.auth._default"})
    assert both.stdout.endswith("none\n")


def test_the_module_imports_nothing_of_googles_and_says_what_to_install():
    code = """
import sys
from obskit.export.gcp.account import Failed, find_account
assert not [name for name in sys.modules if name.split(".")[0] in ("google", "requests")]
sys.modules["google.auth"] = None
try:
    find_account(())
except Failed as failed:
    print(failed.outcome.reason, failed.outcome.retry, failed.outcome.detail)
"""
    done = run(code)
    assert done.stderr == ""
    assert done.stdout.startswith("not_installed False google-auth is missing: pip install 'obskit[gcp]'")
