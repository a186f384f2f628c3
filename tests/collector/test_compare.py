"""``/compare/{a}/{b}``: which spans two traces share, which one alone has, and what got slower."""

import re

import pytest

from .test_pages import NOW, only_own_scripts, outline

A, B = "a" * 32, "b" * 32


def span(trace, number, parent, name, at, took, service="shop", **fields):
    parents = {"parentId": f"{parent:016x}"} if parent else {}
    times = {"timestamp": NOW - 60_000_000 + at * 1000, "duration": took * 1000}
    one = {"traceId": trace, "id": f"{number:016x}", "name": name, "localEndpoint": {"serviceName": service}}
    return {**one, **parents, **times, **fields}


def fill(client):
    """The second request asks prices twice as long, selects 8 times instead of 6, tries again and does not render."""
    client.post(
        [
            span(A, 1, 0, "get /", 0, 100),
            span(A, 2, 1, "auth", 1, 10),
            span(A, 3, 1, "get", 20, 30, kind="CLIENT"),
            span(A, 3, 1, "prices", 22, 26, "bank", kind="SERVER", shared=True),
            *(span(A, n, 1, "select", n, 2, "db") for n in range(60, 66)),
            span(A, 5, 1, "render <b>", 80, 10),
        ]
    )
    client.post(
        [
            span(B, 1, 0, "get /", 5_000, 160),
            span(B, 2, 1, "auth", 5_001, 10),
            span(B, 3, 1, "get", 5_020, 60, kind="CLIENT"),
            span(B, 3, 1, "prices", 5_022, 56, "bank", kind="SERVER", shared=True),
            span(B, 4, 1, "get", 5_090, 30, kind="CLIENT", tags={"error": "503"}),
            *(span(B, n, 1, "select", 5_000 + n, 2, "db") for n in range(60, 68)),
        ]
    )


def rows(page):
    found = re.findall(r'<tr class="[\w-]*"><td>(.*?)</td>.*?<td class="number">(.*?)</tr>', page.text, re.DOTALL)
    texts = [re.sub(r"<[^>]+>", "|", what + "|" + numbers) for what, numbers in found]
    return [" ".join(filter(str.strip, text.split("|"))) for text in texts]


def test_spans_are_paired_and_the_difference_is_said(client):
    fill(client)
    page = client.get(f"/compare/{A}/{B}")
    assert only_own_scripts(outline(page))
    assert rows(page) == [
        "shop get / 100 ms 160 ms ▲ 60 ms",
        "shop auth 10 ms 10 ms 0",
        "shop get 30 ms 60 ms ▲ 30 ms",
        "db select x6 to x8 12 ms 16 ms ▲ 4 ms",
        "shop render &lt;b&gt; 10 ms ▼ only before",
        "shop get error 30 ms ▲ only now",
    ]
    assert "Now took 60 ms longer. 3 rows slower, 1 only now, 1 only before." in page.text


def test_the_largest_difference_comes_first_where_that_is_asked(client):
    fill(client)
    found = rows(client.get(f"/compare/{A}/{B}?sort=difference"))
    assert [text.split(" ")[1] for text in found[:3]] == ["get", "get", "get"]
    assert found[0].endswith("▲ 60 ms")


def test_a_trace_with_itself_has_no_difference(client):
    fill(client)
    assert all(text.endswith(" 0") for text in rows(client.get(f"/compare/{B}/{B}")))


def test_two_traces_are_chosen_in_the_list_and_on_the_page_of_one(client):
    fill(client)
    text = client.get("/traces").text
    assert text.count('<input type="checkbox" name="trace"') == 2
    assert client.get(f"/compare?trace={A}&trace={B}").headers["location"] == f"/compare/{A}/{B}"
    assert f'<input type="hidden" name="trace" value="{A}">' in client.get(f"/traces/{A}").text
    for query in ("", f"?trace={A}", f"?trace={A}&trace={A}&trace={B}"):
        assert client.get(f"/compare{query}").status == 400


@pytest.mark.parametrize(("path", "status"), [(f"/compare/{A}/{'c' * 32}", 404), (f"/compare/x/{A}", 400)])
def test_what_is_not_there_is_said(client, path, status):
    fill(client)
    assert outline(client.get(path), status).text


def test_large_traces_are_cut_where_it_says_so(client):
    many = [span(A, n, 1, f"step {n}", n, 1) for n in range(2, 700)]
    client.post([span(A, 1, 0, "root", 0, 900), *many])
    page = client.get(f"/compare/{A}/{A}")
    assert len(rows(page)) == 500
    assert "199 rows more." in page.text


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(browser, client, width):
    fill(client)
    client.post([span(A, 99, 1, "x" * 400, 50, 1, "y" * 100)])
    tab = browser.tab(width, 900).open("http://{}:{}/compare/{}/{}".format(*client.address, A, B))
    assert tab.run("document.querySelectorAll('.pairs tbody tr').length") == 7
    assert tab.problems == []
    assert tab.overflow <= 0
    tab.open("http://{}:{}/traces".format(*client.address))
    tab.run("document.querySelectorAll('.traces input').forEach((box) => box.click())")
    tab.run("document.querySelector('#compare button').click()")
    tab.wait("location.pathname.startsWith('/compare/') && document.querySelectorAll('.pairs').length")
