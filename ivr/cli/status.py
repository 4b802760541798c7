"""``ivr status``: how a running server is."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from typing import Any

import click

from ivr.errors import ServerError

__all__ = ["command"]

TOKEN_VARIABLE = "KAPOK_TOKEN"
_TIMEOUT_S = 5.0


@click.command("status")
@click.argument("url", default="http://127.0.0.1:2701")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(url: str, as_json: bool) -> None:
    """Ask the server whose HTTP port is at URL whether it takes calls, and who waits where.

    A token of the role view is taken from the environment variable KAPOK_TOKEN. The exit status is
    1 where the server takes no new calls.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    health, calls, queues = (
        _get(url.rstrip("/") + path, token) for path in ("/readyz", "/calls", "/queues")
    )
    told = {"url": url, **health, "calls": calls["calls"], "queues": queues["queues"]}
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        _print(told)
    sys.exit(0 if health["ready"] else 1)


def _get(url: str, token: str | None) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise ServerError(f"{url}: write http://HOST:PORT, the server's HTTP port")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            return _object(answer.read(), url)
    except urllib.error.HTTPError as error:
        told = _object(error.read(), url)
        if "ready" in told:
            return told
        raise ServerError(f"{url}: {told.get('error', error)}") from error
    except (OSError, ValueError) as error:
        raise ServerError(f"{url}: no server answers ({error}); is its http_port on?") from error


def _object(raw: bytes, url: str) -> dict[str, Any]:
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ServerError(f"{url}: this is not Kapok's HTTP port") from error
    return told if isinstance(told, dict) else {}


def _print(told: Mapping[str, Any]) -> None:
    why = "; ".join(told["reasons"].values())
    click.echo("takes calls" if told["ready"] else f"takes no calls: {why}")
    states = Counter(call["state"] for call in told["calls"])
    shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    click.echo(f"calls: {len(told['calls'])}" + (f" ({shown})" if shown else ""))
    for queue in told["queues"]:
        wait_s = queue["expected_wait_s"]
        expected = f", expected wait {wait_s:.0f} s" if wait_s is not None else ""
        hours = "open" if queue["open"] else "closed"
        click.echo(f"  {queue['id']}: {hours}, {queue['waiting']} waiting{expected}")
