"""Secrets are found in text however it was written down, their whole value is masked, and other text stays as it is."""

from __future__ import annotations

import collections
import dataclasses
import http.cookiejar
import http.cookies
import json
import re
import types
from time import process_time

import pytest

from obskit.base.redaction import MASK, Redactor

S = "hunter2"


@dataclasses.dataclass
class Settings:
    """As configuration is often held."""

    user: str
    secret_key: str


Login = collections.namedtuple("Login", "user password")
HEADERS = {"Host": "h", "Authorization": f"Digest username='bob', response=\"{S}\"", "X-Api-Key": S, "Accept": "*/*"}
AS_JSON = json.dumps({"user": "bob", "password": f'a "quoted" \\ {S}', "order": 7})
COOKIE = http.cookiejar.Cookie(
    0, "sid", S, None, False, "h.local", True, False, "/", True, False, None, True, None, None, {}
)

OBJECTS = [
    HEADERS,
    list(HEADERS.items()),
    [(name.encode(), value.encode()) for name, value in HEADERS.items()],
    [[name.lower(), value] for name, value in HEADERS.items()],
    Settings("bob", f'it\'s "{S}"'),
    Login("bob", S),
    types.SimpleNamespace(db=types.SimpleNamespace(passwd=[S, {S: S}])),
    {"credentials": ("bob", S), "n": 1},
    {b"set-cookie": [f"a={S}".encode(), S.encode()]},
    http.cookies.SimpleCookie({"sid": S}),
    COOKIE,
    f"\r\nCookie: sid={S}; theme=dark\r\nHost: h",
    f"token={S}".encode(),
    AS_JSON,
    json.dumps({"event": AS_JSON}),
    json.dumps({"line": json.dumps({"event": AS_JSON})}),
    json.dumps(json.dumps(json.dumps(HEADERS))),
    json.dumps(HEADERS, indent=2),
    ValueError(f"password={S}"),
    [ValueError(Settings("bob", S))],
]


@pytest.mark.parametrize("number", range(len(OBJECTS)))
@pytest.mark.parametrize("shown", [str, repr, ascii, lambda value: repr(repr(value)), lambda value: f"[{value!r}, 1]"])
def test_what_python_itself_prints_is_known(number, shown):
    masked = Redactor().text(shown(OBJECTS[number]))
    assert S not in masked
    assert MASK in masked


TEXTS = {
    "db:\n  password: |\n    hunter2\n    hunter2\n  user: bob": "db:\n  password: [masked]\n  user: bob",
    "token: >-\r\n  hunter2": "token: [masked]",
    "password:\n  hunter2\nuser: bob": "password:[masked]\nuser: bob",
    "{'Name': 'DB_PASSWORD', 'Value': 'hunter2'}": "{'Name': 'DB_PASSWORD', 'Value': '[masked]'}",
    '[{"name":"Cookie", "value":"a=hunter2"}, {"name":"a", "value":1}]': (
        '[{"name":"Cookie", "value":"[masked]"}, {"name":"a", "value":1}]'
    ),
    "password=b'hunter2'": "password='[masked]'",
    "{'password': SecretStr('hunter2')}": "{'password': '[masked]'}",
    "{'password': ['hunter2'], 'a': 1}": "{'password': '[masked]', 'a': 1}",
    'Cookie: sid="hunter2"; y=1': "Cookie: [masked]",
    'Authorization: Digest username="bob", response="hunter2"\nHost: h': "Authorization: [masked]\nHost: h",
    "curl -H 'Cookie: a=hunter2' http://h": "curl -H 'Cookie: [masked]' http://h",
    r"b'GET /\r\nCookie: sid=hunter2\r\nHost: h'": r"b'GET /\r\nCookie: [masked]\r\nHost: h'",
    "[('x-api-key', 'hunter2'), ('a', 'b')]": "[('x-api-key', '[masked]'), ('a', 'b')]",
    "('password', 1234)": "('password', '[masked]')",
    r"{\"password\": \"hunter2\", \"n\": 1}": r"{\"password\": \"[masked]\", \"n\": 1}",
    r"password='a\'hunter2' n=1": "password='[masked]' n=1",
    "password='it''s hunter2' n=1": "password='[masked]' n=1",
    "pwd=hunter2": "pwd=[masked]",
    "password=hun,ter2;x n=1": "password=[masked] n=1",
    "password=hun'ter2&x n=1": "password=[masked] n=1",
    "(password=hunter2)": "(password=[masked])",
    "f(password=a(b)c, d=1)": "f(password=[masked], d=1)",
    "password='hunter2": "password=[masked]",
    "{'password': ['hunter2', 'x": "{'password': '[masked]'",
    "password = hunter2": "password = [masked]",
    "password == 'hunter2'": "password == '[masked]'",
    "'password' => 'hunter2', 'n' => 1": "'password' => '[masked]', 'n' => 1",
    "def f(password: str = 'hunter2', n=1)": "def f(password: [masked], n=1)",
    "user[password]=hunter2&n=1": "user[password]=[masked]&n=1",
    "user%5Bpassword%5D=hunter2&n=1": "user%5Bpassword%5D=[masked]&n=1",
    "API key: hunter2, n: 1": "API key: [masked], n: 1",
    "mysql --password hunter2 -u bob": "mysql --password [masked] -u bob",
    "['mysql', '--password', 'hunter2', '-u']": "['mysql', '--password', '[masked]', '-u']",
    "['mysql', '--password=hunter2', '-u']": "['mysql', '--password=[masked]', '-u']",
    '<ns:Password Type="#Text">hunter2</ns:Password>': '<ns:Password Type="#Text">[masked]</ns:Password>',
    '<password a="b"/><n>1</n>': '<password a="b"/><n>1</n>',
    '<user a="b">bob</user><token a="b"\n>hunter2</token>': '<user a="b">bob</user><token a="b"\n>[masked]</token>',
    "{'auth': ('bob', 'hunter2'), 'n': 1}": "{'auth': '[masked]', 'n': 1}",
    "f(proxy_auth=('bob', 'hunter2'), auth=None, n=(1, 2))": "f(proxy_auth=[masked], auth=None, n=(1, 2))",
    "CREATE USER bob IDENTIFIED BY 'hunter2'": "CREATE USER bob IDENTIFIED BY '[masked]'",
    "<ns:password>hunter2</ns:password>": "<ns:password>[masked]</ns:password>",
    "Server=x;Password=hun;ter2;User Id=sa": "Server=x;Password=[masked];User Id=sa",
    "host=h password='hun ter2' user=bob": "host=h password='[masked]' user=bob",
    "PGPASSWORD=hunter2 psql": "PGPASSWORD=[masked] psql",
    "password1=hunter2, csrfmiddlewaretoken=hunter2": "password1=[masked], csrfmiddlewaretoken=[masked]",
    "<WSGIRequest: GET '/reset?token=hunter2'>": "<WSGIRequest: GET '/reset?token=[masked]'>",
    "GET /x?code=hunter2&page=2 HTTP/1.1": "GET /x?code=[masked]&page=2 HTTP/1.1",
    '{"url":"http://h/x?sig=hunter2","n":1}': '{"url":"http://h/x?sig=[masked]","n":1}',
    "cannot open http://bob:hunter2/y@host/x": "cannot open http://[masked]@host/x",
    "http://bob:hun@ter2@host/x": "http://[masked]@host/x",
    "http://bob:hun'ter2@host/x": "http://[masked]@host/x",
    "amqp://bob@corp:hunter2@host": "amqp://[masked]@host",
    "redis://:hunter2@host": "redis://[masked]@host",
    "ParseResult(netloc='bob:hunter2@host:80', query='')": "ParseResult(netloc='[masked]@host:80', query='')",
    "[SplitResultBytes(netloc=b'hunter2@host')]": "[SplitResultBytes(netloc=b'[masked]@host')]",
    "ParseResult(netloc='host:80', path='/@bob')": "ParseResult(netloc='host:80', path='/@bob')",
    "mongodb://bob:hunter2@h1:27017,h2:27017/db": "mongodb://[masked]@h1:27017,h2:27017/db",
    r"{\"url\": \"https:\/\/bob:hunter2@host\"}": r"{\"url\": \"https:\/\/[masked]@host\"}",
    "http://bob:hun#ter2?x@host/": "http://[masked]@host/",
    "'password':\n  'hunter2', 'n': 1": "'password':\n  '[masked]', 'n': 1",
    "{'password': 'a '\n             'hunter2', 'n': 1}": "{'password': '[masked]', 'n': 1}",
    "password\u00a0= hunter2": "password\u00a0= [masked]",
    "/login?next=%2Fcb%3Faccess_token%3Dhunter2&n=1": "/login?next=%2Fcb%3Faccess_token%3D[masked]&n=1",
    "x?r=a%3D1%26token%3Dhunter2": "x?r=a%3D1%26token%3D[masked]",
    "q=%22password%22%3A%22hunter2%22": "q=%22password%22%3A[masked]",
    "&quot;password&quot;: &quot;hunter2&quot;, n": "&quot;password&quot;: &quot;[masked]&quot;, n",
    "with Basic bob:hunter2": "with Basic [masked]",
    "with Bearer hunter2:x, and more": "with Bearer [masked], and more",
    "with basic Ym9iOmh1bnRlcjI=": "with basic [masked]",
}


@pytest.mark.parametrize("text", TEXTS)
def test_the_whole_value_is_masked_and_nothing_around_it(text):
    masked = Redactor().text(text)
    assert masked == TEXTS[text]
    assert Redactor().text(masked) == masked
    assert S not in Redactor().error_text(text)


INNOCENT = [
    "password:\n  min_length: 8",
    'invalid token:\n  File "a.py", line 1',
    "{'name': 'size', 'value': 'password is too short'}",
    "passwords are hard",
    "token_count=5, max_tokens=100, tokens: 17",
    "tokenizer=gpt2, secretary: Bob, cookiecutter: x",
    "password=None, token: null, cookie=False",
    "password reset: done",
    "no password=",
    "wrong password:",
    "missing fields: ['password', 'email', 'name']",
    "status code: 404, key=3, at 12:30:01, ratio=0.5, code=7",
    "assert len(passwords) > 8",
    "basic authentication failed: x",
    "Basic information, bearer tokens",
    "http://localhost:8080/users/bob@example.com",
    "http://[::1]:8080/users/bob@example.com",
    "http://h/?mail=bob@example.com",
    '["http://localhost","bob@example.com"]',
    "see https://docs.example/tokens#what-is-a-token",
    "mail bob@example.com at 12:30",
    "KeyError: 'order'",
    'File "/app/tokens.py", line 7, in token',
]


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_text_stays_as_it_is(text):
    assert Redactor().text(text) == text


def test_the_callers_words_are_found_in_text_too():
    redactor = Redactor(["iban", "tax_number"])
    assert redactor.text("iban=CH1, Tax-Number: 7, password=x") == "iban=[masked], Tax-Number: [masked], password=x"
    assert Redactor([]).text("password=x") == "password=x"


@pytest.mark.parametrize(
    ("key", "value", "hidden"),
    [
        ("token_count", 5, False),
        ("prompt_tokens", 17, False),
        ("token", 123456, True),
        ("password", 1234, True),
        ("password_hash", "x", True),
        ("password", None, False),
        ("has_password", True, False),
        ("password", {"a": 1}, True),
    ],
)
def test_a_number_is_secret_only_where_the_name_ends_with_the_word(key, value, hidden):
    assert Redactor().hides(key, value) is hidden


EVIL = [
    *("a=", "password:", "a.-:", "?sig=", "password=(", "password=[')", "password=)", "password>", "a\\", "password\\"),
    *("('token',\"", '("token",\'', "('token',x", "('token',(", "'cookie:\n", "\\'cookie:\n'", "--password ", "a "),
    *("password:str = ", "://", "://a:", "://a@", "://a:b/", "Bearer ", "Bearer \n", "password=a,", "password=a&"),
    *("token_count=None ", '["token", "', r"\"token\":\"", "password=''", "tokens=1 ", "<password>", "token]=:> "),
]
EVIL += [
    *("password:\n  ", "password: |\n x\n", "eyJ", "eyJaaaaaaaa.", "-eyJaaaaaaaa", "-----BEGIN PRIVATE KEY-----"),
    *("name=password, value=", "{'name': 'password', ", "password 'a", "password '", "\n[parameters: token"),
]
ONCE = ["a", "password=(", "password=)", "password=\\", 'password=\\"', "password=''", "password='\"", "password=,a"]
ONCE += ["--a", "bearer ", "tokens=1", "\\", "(password=", "://a"]


PEM = "-----BEGIN {0}PRIVATE KEY-----{1}hunter2{1}hunter2-{1}-----END {0}PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (PEM.format("RSA ", "\n"), "-----BEGIN RSA PRIVATE KEY-----[masked]-----END RSA PRIVATE KEY-----"),
        (PEM.format("", r"\n"), "-----BEGIN PRIVATE KEY-----[masked]-----END PRIVATE KEY-----"),
        ("-----BEGIN EC PRIVATE KEY-----\nhunter2", "-----BEGIN EC PRIVATE KEY-----[masked]"),
        ("got eyJhbGciOiJ9.eyJodW50ZXIy.hunter2-_x, expired", "got [masked], expired"),
        ("eyJhbGciOiJ9.eyJodW50ZXIy.", "[masked]"),
        ("ALTER USER bob WITH PASSWORD 'hunter2'", "ALTER USER bob WITH PASSWORD '[masked]'"),
        (
            "set password; create user bob identified  by 'hunter2'",
            "set password; create user bob identified  by '[masked]'",
        ),
        (
            "(Error) no\n[SQL: insert into t (password) values (?)]\n[parameters: ('hunter2',)]\n(Background)",
            "(Error) no\n[SQL: insert into t (password) values (?)]\n[parameters: [masked]]\n(Background)",
        ),
        *[(text, text) for text in ("eyJust.a.word", "PRIVATE KEY-----", "password 'is wrong'", "its a password 'x")],
        ("(Error) no\n[SQL: insert into t values (?)]\n[parameters: (1,)]", None),
    ],
)
def test_what_is_secret_by_its_shape_or_by_the_statement_it_stands_in(text, masked):
    assert Redactor().text(text) == (masked or text)


@pytest.mark.parametrize("begin", ["", "password=", '("token", \'', "://", '"Cookie: '])
def test_masking_takes_linear_time(begin):
    redactor = Redactor()
    for evil in [*EVIL, *(one[-1] for one in ONCE)]:
        assert redactor.text(begin + evil * (40_000 // len(evil)))
    for one in ONCE:
        assert redactor.text(begin + one[:-1] + one[-1] * 40_000 + "=")


def test_many_headers_on_one_line_take_linear_time():
    redactor, header = Redactor(), '"Authorization: Digest a="'

    def cost(text):
        began = process_time()
        assert redactor.text(text).count("[masked]") > 100
        return process_time() - began

    few, many = (min(cost(header * count) for _ in range(3)) for count in (200, 3200))
    assert many < 60 * few  # 16 times as many; by the square it would be 256


def test_text_without_secrets_is_not_walked_over():
    """A traceback of megabytes, with nothing but pairs, is looked through once."""
    text = 'File "/app/views.py", line 7, in get: order=17, customer=acme\n' * 4000
    began = process_time()
    assert Redactor().text(text) is text
    assert process_time() - began < 1


def test_names_are_found_wherever_separators_stand():
    for name in ("api_key", "API-KEY", "apiKey", "x.api.key", "api key"):
        assert re.fullmatch(r".*: \[masked\]", Redactor().text(f"{name}: {S}")), name
