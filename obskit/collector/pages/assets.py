"""The style sheet and the scripts. They are files because the content security policy forbids both inside pages."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_FOLDER = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def asset(request: Request) -> Response:
    """Return a file, or 304 if the browser has it. Browsers always revalidate: an update replaces all files at once."""
    found = _read().get(request.path_params["name"])
    if found is None:
        return PlainTextResponse("there is no such file\n", 404)
    body, kind, tag = found
    headers = {"cache-control": "no-cache", "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)


@cache
def _read() -> dict[str, tuple[bytes, str, str]]:
    """Return contents, media type and ETag of each file by its name."""
    files = {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in _FOLDER.iterdir() if path.suffix in _TYPES}
    return {name: (body, kind, f'"{blake2b(body, digest_size=9).hexdigest()}"') for name, (body, kind) in files.items()}
