"""``ivr token``: tokens of gateways and operators."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ivr.server.access import Role, TokenFile, new_token
from ivr.server.audit import AuditLog
from ivr.server.config_audit import ConfigAudit
from ivr.settings import Settings, load_settings

__all__ = ["command"]

_config = click.option(
    "--config", type=click.Path(path_type=Path), help="Settings instead of config/kapok.yaml."
)


@click.group("token")
def command() -> None:
    """Make, list and revoke the tokens that gateways and operators show.

    Only a hash is stored, in the file that server.access.tokens names. A running server takes a
    change up at once. Once there is a token, nobody comes in without one.
    """


@command.command("new")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="What it is for.",
)
@click.option("--name", required=True, help="Who gets it, for example pbx-1.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Valid so long; else until revoked.")
@_config
def new(role: str, name: str, days: int | None, config: Path | None) -> None:
    """Make a token and print it: this once, it is stored nowhere."""
    settings, now = load_settings(config), datetime.now(UTC)
    expires = now + timedelta(days=days) if days else None
    text, token = new_token(name, Role(role), now=now, expires=expires)
    _audit(settings).record(
        who=_me(), action="new token", target=f"{name} ({token.id})", outcome="taken", detail=role
    )
    TokenFile(settings.server.access.tokens).add(token)
    _told(settings)
    click.echo(text)
    click.echo(f"token {token.id} of {name}, role {role}; it is not shown again", err=True)


@command.command("list")
@_config
def show(config: Path | None) -> None:
    """The tokens there are, without their secrets."""
    path = load_settings(config).server.access.tokens
    tokens = TokenFile(path).tokens
    if not tokens:
        click.echo(f"no tokens in {path}; nobody is asked for one" if tokens is None else "none")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("id", "role", "created", "expires", "name"):
        table.add_column(heading, no_wrap=True)
    for token in tokens.values():
        until = token.expires.date().isoformat() if token.expires else "never"
        table.add_row(token.id, token.role, token.created[:10], until, token.name)
    Console().print(table)


@command.command("revoke")
@click.argument("token_id", metavar="ID")
@_config
def revoke(token_id: str, config: Path | None) -> None:
    """Delete a token; whoever shows it is turned away from now on."""
    settings = load_settings(config)
    file = TokenFile(settings.server.access.tokens)
    gone = file.revoke(token_id)
    _audit(settings).record(
        who=_me(), action="revoke token", target=f"{gone.name} ({gone.id})", outcome="taken"
    )
    _told(settings)
    click.echo(f"revoked {gone.id} of {gone.name}")


def _audit(settings: Settings) -> AuditLog:
    return AuditLog(settings.server.audit_log, now=lambda: datetime.now(UTC))


def _told(settings: Settings) -> None:
    """The file's change is in the log: whoever watches the file need not write it again."""
    path = settings.server.access.tokens
    files = ConfigAudit(_audit(settings), lambda: (path,), home=settings.home)
    files.told(path, path.read_text("utf-8"))


def _me() -> str:
    try:
        return f"user {getpass.getuser()}"
    except (OSError, KeyError):  # a container's user without a name
        return "user unknown"
