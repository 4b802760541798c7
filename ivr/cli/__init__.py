"""The ``ivr`` command; each subcommand is a module here with a click command ``command``.

Modules are imported when their command is called, so that ``ivr match`` does not load Vosk.
"""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from ivr import __version__
from ivr.errors import IvrError

__all__ = ["COMMANDS", "cli", "main"]

#: command name -> one line of help, in the order of ``ivr --help``.
COMMANDS = {
    "serve": "Run the server.",
    "replay": "Stream audio files into the server and show what it decides.",
    "call": "Ring the server as a gateway does.",
    "load": "Keep many calls going and report how late the server answers.",
    "transcribe": "Transcribe audio files.",
    "match": "Match text to a queue.",
    "eval": "Measure the matcher on labelled text or recordings.",
    "diff": "Show which calls an edit of the queues sends elsewhere.",
    "train": "Fit the matcher to your phrases, and measure it on them.",
    "check": "Check config/queues.yaml.",
    "talk": "Talk to Kapok through the microphone.",
    "simulate": "Simulate how long callers wait, before and after.",
    "staff": "Plan the least agents for each half hour.",
    "erlang": "Compute the exact waits of one pool of agents.",
    "models": "List the installed speech models.",
    "status": "Ask a running server how it is.",
    "token": "Make, list and revoke tokens of gateways and operators.",
    "audit": "Show who changed the configuration, when, and what.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ivr.cli.{cmd_name}").command
        command.short_help = COMMANDS[cmd_name]
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ivr")
def cli() -> None:
    """Kapok: voice IVR and bilingual speech navigation."""


def main() -> NoReturn:
    """Entry point: an :class:`IvrError` becomes its message on stderr and exit status 2.

    So does an :class:`OSError` that no command foresaw: a full disk, a folder of somebody else's.
    """
    try:
        sys.exit(cli.main(standalone_mode=True))
    except IvrError as error:
        click.echo(f"ivr: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"ivr: {_of_system(error)}", err=True)
        sys.exit(2)


def _of_system(error: OSError) -> str:
    if error.filename is None:
        return str(error)
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' and '.join(names)}: cannot be read or written ({error.strerror})"
