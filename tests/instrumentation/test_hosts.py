"""Which URLs a list of hosts stands for."""

from __future__ import annotations

import pytest

from obskit.instrumentation.client import HOST, Hosts


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("orders", "http://orders/a"),
        ("orders", "HTTP://user:secret@Orders:8080?x=1"),
        ("ORDERS", "http://orders."),
        ("orders.", "http://orders/"),
        ("orders:80", "http://orders/"),
        ("orders:443", "https://orders/"),
        ("orders:8080", "http://orders:8080/"),
        ("*.internal", "http://a.b.internal:1/"),
        ("10.1.*", "http://10.1.2.3/"),
        ("*", "https://anything.example/"),
        ("*:9411", "http://zipkin:9411"),
        ("[::1]", "http://[::1]:80/"),
        ("[fd00::*]:80", "http://[fd00::7]/"),
        ("orders", "http://orders/a\\b"),
        ("orders", "http://orders?a\\b"),
    ],
)
def test_a_host_on_the_list_is_included(target: str, url: str) -> None:
    assert HOST.fullmatch(target)
    assert Hosts(["unused", target]).include(url)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("orders", "http://orders.example.com/"),
        ("orders", "http://myorders/"),
        ("orders", "http://orders@evil.example/"),
        ("orders", "http://evil.example/http://orders/"),
        ("orders", "http://evil.example#@orders/"),
        ("orders", "http://evil.example?@orders"),
        ("orders", "http://evil.example\\@orders/"),
        ("orders", "http:\\\\evil.example\\@orders/"),
        ("orders", "http://user\\@orders?a"),
        ("orders:80", "http://orders:8080/"),
        ("orders:80", "https://orders/"),
        ("*.internal", "http://internal/"),
        ("*.internal", "http://evil.example/a.internal"),
        ("a.internal", "http://axinternal/"),
        ("10.1.*", "http://110.1.2.3/"),
        ("orders", "orders"),
        ("orders", ""),
        pytest.param("*", f"http://{'a' * 256}/", id="too long for a host"),
    ],
)
def test_another_host_is_not(target: str, url: str) -> None:
    assert not Hosts([target]).include(url)


def test_an_empty_list_is_nobody() -> None:
    assert not Hosts([]).include("http://orders/")


@pytest.mark.parametrize("text", ["", "http://orders", "orders/", "a b", "::1", "orders:", "orders:http", "me@orders"])
def test_what_is_no_host_is_no_target(text: str) -> None:
    assert not HOST.fullmatch(text)


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "api.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:10.0.0.1]", "[fd00::7]", "10.1.2.3",
        "172.16.0.1", "172.31.255.255", "192.168.0.1", "orders", "Orders.", "order_db-1", "3scale",
        "orders.shop.svc", "orders.shop.svc.cluster.local", "vm.c.project.internal",
    ],
)  # fmt: skip
def test_internal_includes_what_is_no_third_party(host: str) -> None:
    assert Hosts(["internal"]).include(f"http://{host}/a")
    assert Hosts(["api.example.com", "Internal"]).include(f"https://me:secret@{host}:8443/a")
    assert not Hosts(["api.example.com"]).include(f"http://{host}/a")


@pytest.mark.parametrize(
    "host",
    [
        "api.example.com", "8.8.8.8", "172.15.0.1", "172.32.0.1", "192.169.0.1", "169.254.169.254", "[2001:db8::1]",
        "[::ffff:8.8.8.8]", "orders.shop", "svc.example.com", "cluster.local.evil.example", "evilcluster.local",
        "134744072", "0x08080808", "10.0.0.1.evil.example", "evil\u3002example", "evil%2eexample", "\u212aube",
        "orders@evil.example", ".svc", "",
    ],
)  # fmt: skip
def test_internal_includes_nobody_else(host: str) -> None:
    assert not Hosts(["internal"]).include(f"http://{host}/a")


def test_internal_stands_beside_other_hosts() -> None:
    hosts = Hosts(["internal", "api.example.com:443"])
    assert hosts.include("https://api.example.com/")
    assert not hosts.include("http://api.example.com/")
