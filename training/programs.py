"""Programs outside Python that the training calls: run, or one clear message.

run(["lmplz", "-o", "3"], given=text, out=arpa)
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import IO

__all__ = ["ProgramError", "run"]

_SHOWN = 5  # lines of what a program said before it failed

#: How to get what is missing.
_GET = {
    "lmplz": "Debian has no package of KenLM: build it from https://github.com/kpu/kenlm "
    "(apt-get install cmake g++ libboost-all-dev zlib1g-dev libbz2-dev liblzma-dev; "
    "cmake -B build && cmake --build build --target lmplz) and put build/bin on the path",
}


class ProgramError(SystemExit):
    """A program is missing or has failed. It ends a command with this message and no trace."""


def run(
    command: Sequence[str], *, given: bytes | None = None, out: IO[bytes] | None = None
) -> None:
    """Run ``command`` to its end.

    Args:
        command: the program's name on the path, and its arguments.
        given: its standard input.
        out: its standard output, thrown away where there is none.

    Raises:
        ProgramError: it is not on the path, or ends with a status other than 0.
    """
    program = command[0]
    try:
        done = subprocess.run(
            command, input=given, stdout=out or subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except FileNotFoundError as error:
        mend = _GET.get(program, f"install {program}")
        raise ProgramError(f"{program} is not on the path; {mend}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-_SHOWN:]
        raise ProgramError(
            f"{' '.join(command)}: ended with status {done.returncode}: "
            + ("\n".join(said) or "it said nothing")
        )
