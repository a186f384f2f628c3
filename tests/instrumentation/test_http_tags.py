"""What of a URL is recorded, and how one is put together."""

from __future__ import annotations

import pytest

from obskit.instrumentation.http_tags import full_url, path_tag, safe_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://bob:hunter2@h:1/a?q=1#f", ("http://h:1/a", "h:1", "/a")),
        ("http://h", ("http://h/", "h", "/")),
        ("http:bob:hunter2@h/a", ("h/a", "", "h/a")),
        ("http:/bob:hunter2@h/", ("h/", "", "h/")),
        ("http:///bob:hunter2@h/", ("h/", "", "h/")),
        ("/bob:hunter2@h/", ("h/", "", "h/")),
        ("bob:hunter2@h", ("h", "", "h")),
        ("//bob:hunter2@h/", ("h/", "", "h/")),
        ("http://bob:hunter2@/a", ("/a", "", "/a")),
        ("http://h/mail@example.org", ("http://h/mail@example.org", "h", "/mail@example.org")),
        ("http://h/a;jsessionid=hunter2", ("http://h/a", "h", "/a")),
        ("http://h/a;v=1;JSESSIONID=hunter2;w=2/b", ("http://h/a;v=1;w=2/b", "h", "/a;v=1;w=2/b")),
        ("", ("/", "", "/")),
    ],
)
def test_what_may_be_secret_is_left_out(url, expected):
    assert safe_url(url) == expected


def test_a_long_path_is_cut_and_searched_in_no_time():
    assert len(path_tag("/;sessionid" * 100_000)) == 2048


@pytest.mark.parametrize(
    ("host", "expected"),
    [("h", "http://h:1/a"), ("::1", "http://[::1]:1/a"), ("[::1]", "http://[::1]:1/a"), ("u:p@h", "http://h:1/a")],
)
def test_a_url_is_put_together_from_what_a_connection_knows(host, expected):
    assert full_url("http", host, 1, "/a") == expected
