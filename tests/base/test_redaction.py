"""What is taken for a secret in spans, and what is not. (Of log records: tests/logs/test_formatter.py.)"""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from obskit.base import redaction
from obskit.base.redaction import MASK, Redactor
from obskit.base.sql_literals import mask_literals

SECRET = "hunter2"

WITH_A_SECRET = [
    f"401 for https://user:{SECRET}@db.example/x",
    f"404 for https://db.example/x?page={SECRET}",
    f"404 for https://db.example/x?{SECRET}",
    f"404 for https://db.example/x#id_token={SECRET}&state=1",
    f"Max retries exceeded with url: /refused?page={SECRET} (Caused by NewConnectionError)",
    f"Client error '404 Not Found' for url 'http://h/x?page={SECRET}'",
    f"login failed: password={SECRET}",
    f"{{'api_key': 'the {SECRET}'}}",
    f'{{"client-secret": "the {SECRET}"}}',
    f"Authorization: Bearer {SECRET}",
    f"authorization: Basic {SECRET}; and more {SECRET}",
    f"Cookie: session={SECRET}; theme=dark",
    f"postgresql://app:{SECRET}@db/orders",
    f"INSERT INTO users (name, secret) VALUES ('bob', '{SECRET}')",
    f"insert or replace into users values (1, '{SECRET}')",
    f"can't execute DELETE FROM users WHERE name = '{SECRET}'",
    f"UPDATE users SET a = 'it''s', b = '{SECRET}' WHERE id = 7",
    f"SELECT * FROM users WHERE name = N'{SECRET}'",
    f'SELECT * FROM users WHERE name LIKE "{SECRET}"',
    f'REPLACE INTO users VALUES (1, "{SECRET}")',
    f"select crypt('{SECRET}')",
    f"ALTER USER bob WITH LOGIN ENCRYPTED '{SECRET}'",
    f"near LINE 1: ... WHERE name = '{SECRET}",
    rf"insert into t values ('C:\', '{SECRET}')",
    rf"insert into t values ('it\'s {SECRET}')",
    f"insert into t values ($q$it's {SECRET}$q$)",
    f"duplicate key value\nDETAIL:  Key (lower(email))=({SECRET}) already exists.",
    f"null value in column\nDETAIL:  Failing row contains (1, {SECRET}, null).",
    f'invalid input syntax for type integer: "{SECRET}"',
    f"(1062, \"Duplicate entry '{SECRET}' for key 'users.email'\")",
    f"(1064, \"You have an error in your SQL syntax; use near 'SELEC 'a' = '{SECRET}'' at line 1\")",
    f'(IntegrityError) failed\n[SQL: INSERT INTO t (a) VALUES (?)]\n[parameters: ("it\'s {SECRET}", 5)]\n(Background)',
]


@pytest.mark.parametrize("text", WITH_A_SECRET)
def test_an_error_loses_its_secrets(text):
    masked = Redactor().error_text(text)
    assert SECRET not in masked
    assert masked, "all is gone"


@pytest.mark.parametrize(
    "text",
    [
        "503",
        "cache miss",
        "KeyError: 'order'",
        "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/x.txt'",
        "ValueError: could not update 'a' of set 5: is it there? no, see https://docs.example/errors/7",
        "TypeError: f() takes 2 positional arguments but 3 were given (where they are from: 'x')",
        "error: unknown extension ?<n at position 1: (?P<n>x)",
        "IssueError: see #12 and C#",
    ],
)
def test_an_ordinary_error_stays_as_it_is(text):
    assert Redactor().error_text(text) == text


@pytest.mark.parametrize(
    ("statement", "masked"),
    [
        ("INSERT INTO t2 VALUES ('x', 5, -3.5, NULL)", "INSERT INTO t2 VALUES (?, ?, ?, NULL)"),
        ("UPDATE t SET a = 'x', b = b + 1", "UPDATE t SET a = ?, b = b + ?"),
        ('SELECT "a"."id" FROM "a" WHERE "a"."n" = "b"."c"', 'SELECT "a"."id" FROM "a" WHERE "a"."n" = "b"."c"'),
        ("SELECT a FROM t WHERE b = %s AND c = :c AND d = $1", "SELECT a FROM t WHERE b = %s AND c = :c AND d = $1"),
        ("SELECT * FROM u WHERE e = 'bob' LIMIT 10\n  ^", "SELECT * FROM u WHERE e = ? LIMIT ?\n  ^"),
        ("no column 'b'", "no column 'b'"),
    ],
)
def test_a_statement_keeps_its_form(statement, masked):
    assert mask_literals(statement) == masked


def test_a_masked_statement_is_still_sql():
    database = sqlite3.connect(":memory:")
    database.execute("create table t (a, b)")
    statement = mask_literals("insert into t (a, b) values ('x', 5)")
    database.execute(statement, (1, 2))
    assert database.execute("select a, b from t").fetchall() == [(1, 2)]
    database.close()


def test_tags_under_secret_keys_are_masked_and_the_others_are_left_alone():
    tags = {"db.password": "x", "http.request.header.authorization": ("x", "y"), "tokens": 5, "http.path": "/a?b=1"}
    redactor = Redactor()
    for _ in range(2):  # the second time by what is known
        found = redactor.tags(tags)
        assert found == {**tags, "db.password": MASK, "http.request.header.authorization": MASK}
        assert list(found) == list(tags)
    assert tags["db.password"] == "x"
    harmless = {"http.path": "/a"}
    assert redactor.tags(harmless) is harmless


def test_tags_that_hold_urls_and_statements_are_searched():
    tags = {"http.url": "http://u:p@h/x?q=1", "url.full": "http://h/x", "http.target": "/x?q=1", "error": True}
    assert Redactor().tags({**tags, "db.statement": "select a from t where b = 'x'"}) == {
        "http.url": f"http://{MASK}@h/x?{MASK}",
        "url.full": "http://h/x",
        "http.target": f"/x?{MASK}",
        "error": True,
        "db.statement": "select a from t where b = ?",
    }


@pytest.mark.parametrize(
    "evil",
    [
        "select " * 30_000,
        "select from " * 20_000,
        "where " * 30_000 + "=",
        "update a " * 20_000,
        "insert " * 30_000 + ":",
        "values (" + "'" * 200_000,
        'values ("' * 20_000,
        "$a$" * 60_000 + "values (",
        "Key (" * 30_000,
        '="' * 70_000 + " values (",
        "1" * 200_000 + " values (" + "1" * 200_000,
        "#a" * 100_000 + "?",
        "x?" * 100_000,
        "invalid input syntax for a " * 8_000 + ":",
        "[parameters: near '" * 10_000,
        "curl -u " * 25_000,
        "mysql " * 30_000 + " -",
        "docker login -" * 15_000,
        ";a:@b" * 40_000,
        "a:" * 100_000 + "@",
        "\nAUTH a b" * 20_000,
    ],
    ids=lambda evil: evil[:12],
)
def test_searching_an_error_takes_linear_time(evil):
    """Quadratic time would be minutes, and the run would be ended."""
    assert Redactor().error_text(evil)


@pytest.mark.parametrize(
    "text",
    [
        f"curl -u me:{SECRET} https://h/",
        f"curl -sSfu 'me:the {SECRET}' h",
        f"curl -ume:{SECRET} h",
        f"curl h --user=me:{SECRET} | jq",
        f"curl --proxy-user me:{SECRET} h",
        f"Command '['curl', '-u', 'me:{SECRET}', 'https://h/']' returned non-zero exit status 22.",
        f"mysqldump -u root -p{SECRET} shop > shop.sql",
        f"Command '['mysql', '-uroot', '-p{SECRET}', 'shop']' returned non-zero exit status 1.",
        f"mysql --password {SECRET} shop",
        f"sshpass -p {SECRET} ssh h",
        f"sshpass -p'the {SECRET}' ssh h",
        f"docker login -u me -p {SECRET} registry",
        f"ldapsearch -x -w {SECRET}",
        f"redis-cli -h h -a {SECRET} ping",
        f"REDISCLI_AUTH={SECRET} redis-cli",
        f"PGPASSWORD={SECRET} psql",
        f"AUTH {SECRET}",
        f"AUTH me {SECRET}",
        f'1700000000.1 [0 127.0.0.1:5000] "AUTH" "{SECRET}"',
        f'1700000000.1 [0 127.0.0.1:5000] "AUTH" "me" "{SECRET}"',
        f"HELLO 3 AUTH me {SECRET}",
        f"CONFIG SET requirepass {SECRET}",
        f"config set masterauth {SECRET}",
        f"me:{SECRET}@tcp(db:3306)/shop?parseTime=true",
        f"cannot reach me:{SECRET}@db.internal:5432/shop",
        f"SET PASSWORD FOR me = PASSWORD('{SECRET}')",
    ],
)
def test_commands_statements_and_names_of_sources_lose_their_passwords(text):
    masked = Redactor().text(text)
    assert SECRET not in masked
    assert masked.count(MASK) == 1
    assert Redactor().text(masked) == masked
    assert Redactor().may_mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "curl: (7) Failed to connect to localhost port 1 - is it up? See -u",
        "curl -sS -o out.txt -X POST -d a:b https://h/",
        "mysql -u root -p shop",
        "mysql - pid 5 -port 3306",
        "Command '['mysql', '-u', 'root', '-p', 'shop']' returned non-zero exit status 1.",
        "docker run -p 8080:80 nginx && ps -p 1234",
        "docker login -u me --password-stdin",
        "sshpass -e ssh -p 2222 h",
        "redis-cli -h h -p 6379 ping",
        "AUTH failed",
        "AUTH Failed for bob.",
        "SMTP AUTH extension not supported by server",
        "AUTH OK",
        "requirepass is not set",
        "pulled nginx:1.25@sha256:abcdef1234",
        "user:bob@example.com logged in, to:bob@example.com",
        "sip:alice@example.com:5060 at 12:30@home",
        "git@github.com:org/repo.git",
    ],
)
def test_ordinary_commands_and_addresses_stay_as_they_are(text):
    assert Redactor().text(text) == text


PIECES = (
    "-----BEGIN PRIVATE KEY-----", "PRIVATE KEY-", "-----BEGIN ", "-----END", "--", "Bearer ", "basic ", "BEARER\n",
    "eyJhbGciOiJI.eyJzdWIiOiIx.", "password", "identified by ", "=", ":", "://", "@", ",", "<", " '", "'", SECRET,
    "curl -u ", "mysql -p", "\nAUTH ", "CONFIG SET requirepass ", "config set masterauth ", "@tcp(", "@h:5432",
)  # fmt: skip


@given(st.lists(st.sampled_from([*PIECES, "?", " ", "\n"]), max_size=12).map("".join))
@example(f"-----BEGIN PRIVATE KEY-----{SECRET}")
@example(f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----")
def test_the_quick_checks_save_time_and_no_secret(text):
    """A text is masked as by all searches one after the other; that for names, the slow one, has a check of its own."""
    redactor = Redactor()
    searched = redactor._without_named(text) if any(sign in text for sign in ("=", ":", ",", "--", "<", " '")) else text
    searched = redaction._USERINFO.sub(rf"\g<1>{MASK}", searched)
    searched = redaction.mask_host(searched)
    searched = redaction._SCHEME.sub(rf"\g<1> {MASK}", searched)
    searched = redaction.mask_redis(redaction.mask_commands(searched))
    searched = redaction._WEB_TOKEN.sub(MASK, searched)
    assert redactor.text(text) == redaction._PRIVATE_KEY.sub(rf"\g<1>{MASK}", searched)


PIECES = ["token", "api-key", "eyJabcdefghi.abcdefghij.abc", "orders", "bob", "Basic", "session_id", SECRET, "8080"]
PIECES += [".", "-", "--", "/", "//", ":", "%3A", "%3D", "=", "?", "#", "@", " ", "'", '"', "\n", "<a b>", "netloc="]


@given(st.sampled_from(["http://", "https://", "HTTP://", "http:/"]), st.lists(st.sampled_from(PIECES), max_size=7))
@example("http://", ["token", ":", "8080", "/", "orders"])
@example("http://", ["orders", "/", "eyJabcdefghi.abcdefghij.abc"])
def test_a_plain_url_is_searched_in_few_steps_with_the_same_result(start: str, pieces: list[str]) -> None:
    url = start + "".join(pieces)
    redactor = Redactor()
    for _ in range(2):
        assert redactor.tags({"http.url": url})["http.url"] == redactor.text(redaction._without_query(url))
