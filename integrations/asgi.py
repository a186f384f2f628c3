"""Any ASGI application, without patching: ``application = ObskitMiddleware(application)``."""

from __future__ import annotations

from obskit.instrumentation.asgi import Application, DoubleCallable, Receive, Scope, Send, serve, single_callable


class ObskitMiddleware:
    """An ASGI application that serves another one, each HTTP request in a span; other scopes pass through."""

    def __init__(self, app: Application | DoubleCallable) -> None:
        self.app = single_callable(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        return await serve(self.app, scope, receive, send)
