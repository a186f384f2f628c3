"""Installing, also of the libraries below, and taking it back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from obskit.testing.client_cases.calls import CLIENT, HttpClientCalls
from obskit.testing.contract import installed


class InstallationCases(HttpClientCalls):
    """A call is one span whatever is installed, and none afterwards."""

    def test_layers_below_add_no_span(self) -> None:
        """If libraries that it is built on are instrumented too, one call is still one span."""
        with self.upstream() as upstream:
            for layers in subsets(self.below):
                with installed(layers):
                    self.fetch("/a")
                    span = self.recorder.take(CLIENT)
                    self.recorder.assert_empty()
                assert upstream.headers()["x-b3-spanid"] == span.span_id

    def test_installing_twice_makes_one_span(self) -> None:
        """A second installation changes nothing."""
        self.install()
        with self.upstream():
            self.fetch("/a")
            self.recorder.take(CLIENT)

    def test_uninstalled_library_is_not_traced(self) -> None:
        """After removal calls are made without a span or headers."""
        self.uninstall()
        with self.upstream() as upstream:
            self.fetch("/a")
        assert "x-b3-traceid" not in upstream.headers()


def subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield every choice of ``names``, from none to all."""
    return itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(len(names) + 1))
