"""Servers that start their workers anew: the new one traces, and what was served before and after is sent once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integrations.renewed_servers import FLASK, STARLETTE, Renew, check_renewal, hang_up, nothing, rewrite

GUNICORN = "gunicorn -b 127.0.0.1:{port} app:app"


@pytest.mark.parametrize(
    ("program", "command", "renew"),
    [
        pytest.param(STARLETTE, "uvicorn --reload --port {port} app:app", rewrite, id="uvicorn-reload"),
        pytest.param(FLASK, GUNICORN, hang_up, id="gunicorn-hup"),
        pytest.param(FLASK, f"{GUNICORN} --max-requests 3", nothing, id="gunicorn-max-requests"),
    ],
)
def test_old_and_new_worker_deliver_what_they_served_once(
    program: str, command: str, renew: Renew, tmp_path: Path
) -> None:
    """The reloaders of Flask and Django are in the battery."""
    check_renewal(program, command, renew, tmp_path)
