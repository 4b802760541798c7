from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.errors import ConfigError
from ivr.intent.calibration import CALIBRATION_FILE, Calibration, read_calibration
from ivr.queues.catalogue import load_catalogue
from ivr.queues.reload import CatalogueWatch
from tests.server.installation import QUEUES

WEIGHTS = len(Calibration.weight_names())


def test_a_file_reads_back(tmp_path: Path) -> None:
    file = tmp_path / CALIBRATION_FILE
    assert read_calibration(file) is None
    weights = Calibration(ridge=3.25, background=-1.5)
    weights.save(file)
    assert read_calibration(file) == weights


@given(st.lists(st.floats(-9, 9), min_size=WEIGHTS, max_size=WEIGHTS))
def test_vectors_have_the_order_of_the_fields(values: list[float]) -> None:
    rounded = [round(v, 2) for v in values]
    assert np.allclose(Calibration.of(np.array(rounded)).vector(), rounded)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"ridge": "much"}', "ridge: "),
        ('{"ridge": 1, "weight": 2}', "weight: "),
        ('{"ridge": NaN}', "ridge: "),
        ("[]", "the file: "),
        ("{", "the file: "),
    ],
)
def test_what_is_wrong_is_named_with_the_mend(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / CALIBRATION_FILE
    file.write_text(content)
    with pytest.raises(ConfigError, match="run `ivr train` again, or delete the file") as error:
        read_calibration(file)
    assert expected in str(error.value)


@given(st.binary(max_size=60))
def test_any_file_is_weights_or_one_error(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(content)
        file.flush()
        with contextlib.suppress(ConfigError):  # nothing else may be raised
            assert isinstance(read_calibration(Path(file.name)), Calibration)


def test_the_queues_take_it_up_and_watch_it(tmp_path: Path) -> None:
    path = tmp_path / "queues.yaml"
    path.write_text(QUEUES, encoding="utf-8")
    catalogue = load_catalogue(path)
    assert catalogue.calibration is None
    watch = CatalogueWatch(path, catalogue)
    Calibration(ridge=9.0).save(tmp_path / CALIBRATION_FILE)
    assert watch.poll() is None  # not settled yet
    change = watch.poll()
    assert change is not None
    assert change.catalogue is not None
    assert change.catalogue.calibration == Calibration(ridge=9.0)


def test_it_does_not_stand_in_the_queues_file(tmp_path: Path) -> None:
    path = tmp_path / "queues.yaml"
    path.write_text("calibration: {ridge: 1}\n" + QUEUES, encoding="utf-8")
    with pytest.raises(ConfigError, match="calibration does not stand in this file"):
        load_catalogue(path)


def test_a_threshold_is_the_lowest_that_keeps_the_aim() -> None:
    curve = [0.2] * 50 + [0.04] * 30 + [0.02] * 21
    weights = Calibration(ridge=2.0).with_curve(curve)
    assert weights.ridge == 2.0
    assert weights.threshold(0.03) == pytest.approx(0.80)
    assert weights.threshold(0.04) == pytest.approx(0.50)
    assert weights.threshold(0.5) == 0.0
    assert weights.threshold(0.01) is None


def test_a_curve_has_all_its_shares(tmp_path: Path) -> None:
    file = tmp_path / CALIBRATION_FILE
    file.write_text('{"wrong_above": [0.1, 0.0]}')
    with pytest.raises(ConfigError, match=r"wrong_above: .*101 shares"):
        read_calibration(file)
