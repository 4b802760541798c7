"""Who waits where, with real waits learnt and a real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ivr.queues.live import ExpectedWaits, Plan, table_of
from ivr.queues.scenario import load_scenario
from ivr.server.conversation import Services
from ivr.server.metrics import Metrics
from ivr.server.operations import Operations
from ivr.server.queue_board import QueueBoard
from ivr.settings import StoreSettings
from ivr.store import open_store
from tests.server.installation import Installation
from tests.server.test_metrics import value

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
PLAN = {"general": Plan(agents=2.0, aht_s=120.0, patience_s=float("inf"), per_hour=30.0)}
LABELS = {"queue": "general", "outcome": "answered"}


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_waits_are_counted_measured_and_expected() -> None:
    metrics = Metrics(queues=["general"])
    board = QueueBoard(metrics, waits=ExpectedWaits(table_of(PLAN)))
    short_s = board.line("general").expected_wait_s
    for number in range(5):
        board.report("general", "arrived", f"c{number}", after(number))
    line = board.line("general")
    assert line.waiting == 5
    # Two agents, two minutes a call: the sixth waits for six answers, one a minute.
    assert line.expected_wait_s == pytest.approx(6 * 60.0, rel=0.05)
    assert short_s is not None
    assert short_s < 60.0
    board.report("general", "answered", "c0", after(30))
    board.report("general", "abandoned", "c1", after(31))
    assert board.counts() == {"general": 3}
    assert value(metrics, "kapok_queue_wait_seconds_sum", **LABELS) == 30.0
    assert board.expected_waits_s().keys() == {"general"}


def test_a_report_told_twice_and_one_of_nobody() -> None:
    metrics = Metrics(queues=["general"])
    board = QueueBoard(metrics)
    for _ in range(2):
        board.report("general", "arrived", "c", after(0))
    assert board.counts() == {"general": 1}
    for _ in range(2):
        board.report("general", "answered", "c", after(9))
    board.report("general", "answered", "never seen", after(9))
    assert not board.counts()
    assert value(metrics, "kapok_queue_wait_seconds_count", **LABELS) == 1
    assert board.line("general").expected_wait_s is None


def test_an_answer_counts_though_the_clock_was_set_back_meanwhile() -> None:
    told: list[tuple[str, datetime]] = []

    class Shared:
        def counts(self) -> dict[str, int]:
            return {}

        def reported(self, queue: str, event: str, call_id: str, *, at: datetime) -> None:
            told.append((event, at))

    board = QueueBoard(Metrics(queues=["general"]), shared=Shared())
    board.report("general", "arrived", "c", after(0))
    board.report("general", "answered", "c", after(-5 * 3600))
    assert told == [("arrived", NOON), ("answered", NOON)]  # before it, it would count for nothing


def test_with_a_store_the_counts_are_those_of_all_nodes(tmp_path: Path) -> None:
    settings = StoreSettings(spool=tmp_path / "spool.sqlite")
    nodes = [open_store(settings, home=tmp_path, environ={}) for _ in range(2)]
    for number, store in enumerate(nodes):
        assert store is not None
        board = QueueBoard(Metrics(), shared=store)
        board.report("general", "arrived", f"c{number}", datetime.now(UTC))
        store.close()
    reading = open_store(settings, home=tmp_path, environ={})
    assert reading is not None
    assert reading._backend.counts(now=datetime.now(UTC).timestamp()) == {"general": 2}
    reading.close()


def test_the_settings_name_the_plan(services: Services, installation: Installation) -> None:
    settings = installation.settings()
    plan = Path(__file__).parents[2] / "config" / "scenarios" / "small.yaml"
    server = settings.server.model_copy(update={"expected_waits": plan})
    store = settings.store.model_copy(update={"url": "none"})
    settings = settings.model_copy(update={"server": server, "store": store})
    operations = Operations.open(settings, catalogue=services.catalogue)
    assert operations.waits is not None
    (queue, *_) = load_scenario(plan).needs
    morning = datetime(2026, 11, 25, 10, tzinfo=ZoneInfo("Asia/Shanghai"))
    assert operations.waits.expected_wait_s(queue, morning.timestamp()) is not None
