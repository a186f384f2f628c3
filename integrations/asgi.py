"""Any ASGI application, without patching: ``application = ObskitMiddleware(application)``."""

from __future__ import annotations

from obskit.instrumentation.asgi import Application, Receive, Scope, Send, serve


class ObskitMiddleware:
    """An ASGI application that serves another one, each HTTP request in a span; other scopes pass through."""

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await serve(self.app, scope, receive, send)
