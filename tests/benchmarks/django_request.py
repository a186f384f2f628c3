"""What tracing adds to one request of a small Django application, called as a WSGI server calls it, without sockets."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from clocks import Block
from flask_request import served
from sides import start_obskit, start_peer


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what serves a block of requests, and checks that a span arrived for each (for none where unsampled)."""
    _configure()
    flush = start_obskit(f"{receiver}/obskit")
    peer = start_peer(f"{receiver}/opentelemetry")
    return served(_applications(peer), variant, receiver, flush, peer.force_flush)


def _configure() -> None:
    import django
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    urls = ModuleType("bench_urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("orders/<int:order_id>", lambda request, order_id: HttpResponse(f"order {order_id}"))
    ]
    sys.modules[urls.__name__] = urls
    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=urls.__name__, SECRET_KEY="bench", LOGGING_CONFIG=None,
        MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    )  # fmt: skip
    django.setup()


def _applications(peer: Any) -> tuple[Any, Any, Any]:
    """Return three handlers over the same view; the peer's comes last, since it changes the settings for good."""
    from django.core.handlers.wsgi import WSGIHandler
    from opentelemetry.instrumentation.django import DjangoInstrumentor

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.django import install

    class Bare(WSGIHandler): ...

    class Ours(WSGIHandler): ...

    class Theirs(WSGIHandler): ...

    patches = Patches()
    install(SimpleNamespace(WSGIHandler=Ours), patches)
    install(SimpleNamespace(BaseHandler=Ours), patches)
    bare, ours = Bare(), Ours()
    DjangoInstrumentor().instrument(tracer_provider=peer)
    return bare, ours, Theirs()
