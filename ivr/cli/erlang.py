"""``ivr erlang``: the exact waits of one pool of agents (Erlang B, C and A)."""

from __future__ import annotations

import json
import math
from typing import Any

import click

from ivr.queues.erlang import Pool, erlang_b, pool_measures

__all__ = ["command"]


@click.command("erlang")
@click.option("--arrivals-per-hour", required=True, type=float, help="Calls an hour.")
@click.option(
    "--aht", "aht_s", required=True, type=float, help="Mean handling time of a call, seconds."
)
@click.option("--agents", required=True, type=int, help="Agents at work.")
@click.option(
    "--patience",
    "patience_s",
    type=float,
    help="Mean time before a waiting caller gives up, seconds; without, nobody does.",
)
@click.option(
    "--within",
    "within_s",
    type=float,
    default=15.0,
    show_default=True,
    help="The wait that the service level is about, seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    arrivals_per_hour: float,
    aht_s: float,
    agents: int,
    patience_s: float | None,
    within_s: float,
    as_json: bool,
) -> None:
    """How long callers of one pool of agents wait: exact formulas, no simulation.

    Erlang C, or Erlang A with --patience; Erlang B for the share that would be lost if nobody could
    wait. They assume arrivals at a constant rate and exponential times; for queues, shifts,
    skills and menus there is `ivr simulate`.
    """
    pool = pool_measures(arrivals_per_hour, aht_s, agents, patience_s=patience_s, within_s=within_s)
    erlangs = arrivals_per_hour / 3600 * aht_s
    extra = {
        "formula": "Erlang C" if patience_s in (None, math.inf) else "Erlang A",
        "erlangs": erlangs,
        "p_lost": erlang_b(erlangs, agents),
    }
    if as_json:
        click.echo(json.dumps(_values(pool) | extra))
        return
    click.echo(f"{extra['formula']}, {erlangs:.2f} erlangs on {agents} agents")
    for name, shown in _lines(pool, extra["p_lost"]):
        click.echo(f"{name:<28}{shown:>10}")


def _values(pool: Pool) -> dict[str, Any]:
    return {
        "mean_wait_s": pool.mean_wait_s,
        "p_wait": pool.p_wait,
        "service_level": pool.service_level,
        "abandoned": pool.abandoned,
        "utilisation": pool.utilisation,
        "mean_queue_length": pool.mean_queue_length,
        "within_s": pool.within_s,
    }


def _lines(pool: Pool, p_lost: Any) -> list[tuple[str, str]]:
    return [
        ("mean wait", f"{pool.mean_wait_s:.2f} s"),
        ("callers who wait", f"{pool.p_wait:.2%}"),
        (f"answered within {pool.within_s:g} s", f"{pool.service_level:.2%}"),
        ("abandoned", f"{pool.abandoned:.2%}"),
        ("agents busy", f"{pool.utilisation:.2%}"),
        ("callers waiting", f"{pool.mean_queue_length:.2f}"),
        ("lost if nobody could wait", f"{p_lost:.2%}"),
    ]
