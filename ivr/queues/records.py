"""Call records of a hotline's own telephone system: a CSV, read by the columns a scenario names.

    call_records:                      # in the scenario
      arrived: call_start              # when the caller joined the queue
      answered: agent_answer           # empty where the caller gave up
      ended: call_end                  # end of the talk, or when the caller gave up
      queue: skill
      queues: { SB: social_security }  # what the records call a queue -> its id
      time_format: "%Y/%m/%d %H:%M:%S" # without it ISO 8601

Systems that write seconds instead of times name ``wait_s`` and ``service_s`` (empty, or with
``abandoned``, where the caller gave up). ``need`` is the queue that would have been right, where
the records know it; without it the queue that answered is taken for it. Wrap-up is not in the
records: the scenario's is kept.

Every fault of the file is told with row and column; the first :data:`MOST_FAULTS` of them.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from ivr.errors import ConfigError
from ivr.queues.catalogue import Catalogue
from ivr.queues.scenario import CallColumns
from ivr.queues.simulation.model import DAY_S
from ivr.yamlsource import did_you_mean

__all__ = ["MOST_FAULTS", "CallRecords", "read_records"]

Floats = npt.NDArray[np.float64]

MOST_FAULTS = 20
_LONGEST_S = DAY_S  # of a wait or a talk; what is longer is a slip in the times
_YES = frozenset({"1", "y", "yes", "true", "t", "abandoned", "是"})
_NO = frozenset({"", "0", "n", "no", "false", "f", "answered", "否"})


@dataclass(frozen=True, slots=True, eq=False)
class CallRecords:
    """Calls in order of arrival; arrays (calls,).

    ``arrived_s``: float64, seconds from the midnight of ``first_day`` by the centre's clock.
    ``queue``, ``need``: int64, index into ``ids``. ``wait_s``: float64, until the answer or until
    the caller gave up. ``service_s``: float64, NaN of those who gave up.
    """

    name: str
    first_day: date
    days: int
    ids: tuple[str, ...]
    arrived_s: Floats
    queue: npt.NDArray[np.int64]
    need: npt.NDArray[np.int64]
    wait_s: Floats
    service_s: Floats

    def __len__(self) -> int:
        return len(self.arrived_s)

    @property
    def abandoned(self) -> npt.NDArray[np.bool_]:
        """Who gave up, bool (calls,)."""
        return np.isnan(self.service_s)

    @property
    def misrouted(self) -> float:
        """The share that joined another queue than that of the need; 0 where needs are unknown."""
        return float(np.mean(self.queue != self.need))


@dataclass(frozen=True, slots=True)
class _Call:
    arrived: datetime
    queue: str
    need: str
    wait_s: float
    service_s: float


class _FaultError(Exception):
    """One fault: column, what, mend."""


def read_records(path: Path, columns: CallColumns, catalogue: Catalogue) -> CallRecords:
    """The calls of a CSV file (commas, semicolons or tabs; UTF-8).

    Raises:
        ConfigError: faults, one a line: ``file:row: column 'name': what; mend``; or there are no
            calls.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            calls = _read(stream, path, columns, catalogue)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; check the name") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        mend = "convert it first: iconv -f GB18030 -t UTF-8"
        raise ConfigError(f"{path}: not UTF-8 text; {mend}") from error
    except csv.Error as error:
        raise ConfigError(f"{path}: not a CSV file ({error}); export it as CSV") from error
    if not calls:
        raise ConfigError(f"{path}: holds no call below its first line; export the calls too")
    return _gathered(path, calls, catalogue)


def _read(stream: TextIO, path: Path, columns: CallColumns, catalogue: Catalogue) -> list[_Call]:
    first = stream.readline()
    stream.seek(0)
    delimiter = max(",;\t", key=first.count)
    rows = csv.DictReader(stream, delimiter=delimiter, strict=True)
    _check_columns(path, columns, rows.fieldnames or ())
    take = _taker(columns, catalogue)
    calls, faults = [], []
    for row in rows:
        try:
            calls.append(take(row))
        except _FaultError as error:
            faults.append(f"{path}:{rows.line_num}: {error}")
        if len(faults) == MOST_FAULTS:
            faults.append(f"{path}: there may be more; mend these first")
            break
    if faults:
        raise ConfigError("\n".join(faults))
    return calls


def _check_columns(path: Path, columns: CallColumns, there: object) -> None:
    named = {name: value for name, value in columns.model_dump().items()
             if isinstance(value, str) and name != "time_format"}  # fmt: skip
    found = tuple(map(str, there)) if isinstance(there, list | tuple) else ()
    faults = [
        f"{path}:1: there is no column {value!r} (call_records: {name}); "
        + did_you_mean(value, found, kind="columns")
        for name, value in named.items()
        if value not in found
    ]
    if faults:
        raise ConfigError("\n".join(faults))


# --- one row --------------------------------------------------------------------------------

Row = Mapping[str, str | None]


def _taker(columns: CallColumns, catalogue: Catalogue) -> Callable[[Row], _Call]:
    zone = ZoneInfo(catalogue.timezone)
    known = dict(zip(catalogue.queue_ids, catalogue.queue_ids, strict=True)) | columns.queues

    def cell(row: Row, column: str) -> str:
        return (row.get(column) or "").strip()

    def time(row: Row, column: str) -> datetime | None:
        text = cell(row, column)
        return _time(text, column, columns.time_format, zone) if text else None

    def queue(row: Row, column: str) -> str:
        text = cell(row, column)
        if text not in known:
            mend = did_you_mean(text, known, kind="queues known")
            raise _fault(column, f"{text[:40]!r} is no queue", f"{mend} (call_records: queues)")
        return known[text]

    def lengths(row: Row, arrived: datetime) -> tuple[float, float]:
        gave_up = _gave_up(row, columns)
        if columns.wait_s is not None and columns.service_s is not None:
            wait_s = _seconds(cell(row, columns.wait_s), columns.wait_s)
            talk = cell(row, columns.service_s)
            talked = bool(talk) and not gave_up
            return wait_s, _seconds(talk, columns.service_s) if talked else math.nan
        assert columns.answered is not None
        assert columns.ended is not None
        answered, ended = time(row, columns.answered), time(row, columns.ended)
        if ended is None:
            raise _fault(columns.ended, "nothing", "write when the call ended, or delete the row")
        until = ended if answered is None or gave_up else answered
        wait_s = _between(arrived, until, columns.ended if until is ended else columns.answered)
        if answered is None or gave_up:
            return wait_s, math.nan
        return wait_s, _between(answered, ended, columns.ended)

    def take(row: Row) -> _Call:
        arrived = time(row, columns.arrived)
        if arrived is None:
            raise _fault(columns.arrived, "nothing", "write when the call came, or delete the row")
        came = queue(row, columns.queue)
        wait_s, service_s = lengths(row, arrived)
        need = queue(row, columns.need) if columns.need and cell(row, columns.need) else came
        return _Call(arrived, came, need, wait_s, service_s)

    return take


def _fault(column: str, what: str, mend: str) -> _FaultError:
    return _FaultError(f"column {column!r}: {what}; {mend}")


def _time(text: str, column: str, form: str | None, zone: ZoneInfo) -> datetime:
    try:
        found = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
    except ValueError:
        mend = (
            f"write it as {form}, or change call_records: time_format"
            if form
            else "write 2026-11-25 10:00:00, or name its form in call_records: time_format"
        )
        raise _fault(column, f"{text[:40]!r} is no time", mend) from None
    return found.astimezone(zone).replace(tzinfo=None) if found.tzinfo else found


def _seconds(text: str, column: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise _fault(column, f"{text[:40]!r} is no number of seconds", "write 75") from None
    if not 0 <= seconds <= _LONGEST_S:
        what = f"{text[:40]!r} is not from 0 to {_LONGEST_S:.0f} seconds"
        raise _fault(column, what, "mend it, or delete the row")
    return seconds


def _between(start: datetime, end: datetime, column: str) -> float:
    seconds = (end - start).total_seconds()
    if seconds < 0:
        raise _fault(column, f"{end} is before {start}", "mend the times, or delete the row")
    if seconds > _LONGEST_S:
        raise _fault(column, f"{end} is more than a day after {start}", "mend it")
    return seconds


def _gave_up(row: Row, columns: CallColumns) -> bool:
    if columns.abandoned is None:
        return False
    text = (row.get(columns.abandoned) or "").strip()
    if text.casefold() not in _YES | _NO:
        raise _fault(columns.abandoned, f"{text[:40]!r} is neither yes nor no", "write yes or no")
    return text.casefold() in _YES


# --- all rows -------------------------------------------------------------------------------


def _gathered(path: Path, calls: list[_Call], catalogue: Catalogue) -> CallRecords:
    calls.sort(key=lambda call: call.arrived)
    first, last = calls[0].arrived, calls[-1].arrived
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {call.queue for call in calls} | {call.need for call in calls}
    ids = tuple(id_ for id_ in catalogue.queue_ids if id_ in named)
    index = {id_: n for n, id_ in enumerate(ids)}
    return CallRecords(
        name=str(path),
        first_day=midnight.date(),
        days=(last.date() - first.date()).days + 1,
        ids=ids,
        arrived_s=np.array([(c.arrived - midnight).total_seconds() for c in calls]),
        queue=np.array([index[c.queue] for c in calls], np.int64),
        need=np.array([index[c.need] for c in calls], np.int64),
        wait_s=np.array([c.wait_s for c in calls]),
        service_s=np.array([c.service_s for c in calls]),
    )
