"""``ivr audit``: who changed the configuration."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from ivr.server.audit import AuditLog
from ivr.settings import load_settings

__all__ = ["command"]


@click.command("audit")
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings instead of config/kapok.yaml."
)
@click.option("--last", type=click.IntRange(0), default=20, show_default=True)
@click.option("--diff", "with_diff", is_flag=True, help="Show what was changed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, oldest first.")
@click.option("--verify", is_flag=True, help="Check that no line was taken out or changed.")
def command(config: Path | None, last: int, with_diff: bool, as_json: bool, verify: bool) -> None:
    """Who changed the configuration, when, and what; the oldest first.

    With --verify the exit status is 1 where a line does not follow from the one before.
    """
    audit = AuditLog(load_settings(config).server.audit_log, now=lambda: datetime.now(UTC))
    if verify:
        broken = audit.verify()
        for number in broken:
            click.echo(f"{audit.path}:{number}: does not follow from the line before", err=True)
        click.echo("damaged" if broken else "every line follows from the one before")
        sys.exit(1 if broken else 0)
    for entry in reversed(audit.last(last)):
        if as_json:
            click.echo(json.dumps(entry, ensure_ascii=False))
            continue
        heading = (entry["at"], entry["who"], entry["action"], entry["target"], entry["outcome"])
        click.echo("  ".join(heading))
        for text in (entry.get("detail"), entry.get("diff") if with_diff else None):
            if text:
                click.echo("\n".join("    " + line for line in str(text).splitlines()))
