"""Service b, the kitchen (Django in one file): cooks with what the pantry has, which it asks with httpx."""

from __future__ import annotations

import logging
import os
import sys
from urllib.parse import quote

import httpx
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

import obskit

obskit.init(service="b")

PANTRY = os.environ.get("C_URL", "http://127.0.0.1:8083")
# A connection for each call: uvicorn closes one after an exception, and a client that reuses it may lose the next call.
ONE_CALL_EACH = httpx.Limits(max_keepalive_connections=0)

client = httpx.Client(base_url=PANTRY, timeout=5, limits=ONE_CALL_EACH)
log = logging.getLogger("kitchen")
logging.basicConfig(level=logging.INFO)
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1", "localhost"])


def cook(_request: HttpRequest, dish: str) -> JsonResponse:
    """Cook a dish; 502 when the pantry has nothing for it."""
    log.info("cooking %s", dish)
    fetched = client.get(f"/ingredients/{quote(dish)}")
    if fetched.is_error:
        return JsonResponse({"sorry": f"nothing to make {dish} from"}, status=502)
    return JsonResponse({"dish": f"{dish} with {' and '.join(map(chop, fetched.json()))}"})


def chop(ingredient: str) -> str:
    """Chop an ingredient; leeks have many layers, which takes a while."""
    layers = 500_000 if ingredient == "leeks" else 1
    while layers:
        layers -= 1
    return ingredient


urlpatterns = [path("cook/<str:dish>", cook)]
app = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line([sys.argv[0], "runserver", "--noreload", os.environ.get("PORT", "8082")])
