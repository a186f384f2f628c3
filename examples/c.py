"""Service c, the pantry (Starlette on uvicorn): knows what a dish is made of, and fails for others."""

from __future__ import annotations

import logging
import os

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import obskit

obskit.init(service="c")

SHELVES = {
    "curry": ["chickpeas", "coconut milk"],
    "pasta": ["tomatoes", "basil"],
    "soup": ["leeks", "potatoes"],
}

log = logging.getLogger("pantry")
logging.basicConfig(level=logging.INFO)


async def ingredients(request: Request) -> JSONResponse:
    """List what a dish is made of. Raises LookupError, which is a 500, for a dish without a recipe."""
    dish = request.path_params["dish"]
    log.info("looking for what %s is made of", dish)
    if dish not in SHELVES:
        raise LookupError(f"nothing on the shelves for {dish}")
    return JSONResponse(SHELVES[dish])


app = Starlette(routes=[Route("/ingredients/{dish}", ingredients)])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8083")))
