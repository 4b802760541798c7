"""Beams and endpoint rules of a model.conf."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ivr.asr.decoding_options import DecodingOptions, EndpointRule, read_decoding_options
from ivr.errors import ModelError

MODELS = Path(__file__).parents[2] / "models"


def read(folder: Path, *lines: str) -> DecodingOptions:
    file = folder / "model.conf"
    file.write_text("\n".join(lines), encoding="utf-8")
    return read_decoding_options(file)


def test_those_of_the_models_that_ship() -> None:
    for language in ("cmn", "yue"):
        options = read_decoding_options(MODELS / language / "conf" / "model.conf")
        assert (options.beam, options.lattice_beam, options.max_active) == (11.0, 4.0, 3000)
        assert [rule.min_trailing_silence for rule in options.rules] == [6.0, 0.45, 0.7, 1.2, 0.0]


def test_what_a_model_does_not_say_is_as_kaldi_has_it(tmp_path: Path) -> None:
    options = read(tmp_path, "--endpoint.silence-phones=1", "--endpoint.rule2.max-relative-cost=3")
    assert options.beam == 16.0
    assert options.rules[1] == EndpointRule(min_trailing_silence=0.5, max_relative_cost=3.0)
    assert options.rules[3] == EndpointRule(min_trailing_silence=2.0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--beam=wide", "--beam=wide is no number"),
        ("--beam=nan", "--beam=nan is no number from 0 on"),
        ("--lattice-beam=-5", "--lattice-beam=-5 is no number from 0 on"),
        ("--max-active=inf", "--max-active=inf is no number from 0 on"),
        ("--endpoint.rule1.must-contain-nonsilence=yes", "is neither true nor false"),
        ("--endpoint.rule9.min-trailing-silence=1", "--endpoint.rule9.min-trailing-silence is no"),
        ("--endpoint.rule1.silence=1", "--endpoint.rule1.silence is no option that Kaldi knows"),
        ("beam 11", "is not --name=value"),
    ],
)
def test_what_is_refused(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read(tmp_path, line)


@pytest.mark.parametrize(
    ("decoded_s", "silent_s", "cost_of_end", "over"),
    [
        (3.0, 0.4, 0.0, False),
        (3.0, 0.5, 2.0, True),  # rule 2
        (3.0, 0.5, 2.1, False),
        (3.0, 1.0, 8.0, True),  # rule 3
        (3.0, 2.0, math.inf, True),  # rule 4
        (4.0, 4.0, 0.0, False),  # nothing was said
        (5.0, 5.0, 0.0, True),  # rule 1
        (19.9, 0.0, math.inf, False),
        (20.0, 0.0, math.inf, True),  # rule 5
    ],
)
def test_when_an_utterance_is_over(
    decoded_s: float, silent_s: float, cost_of_end: float, over: bool
) -> None:
    found = DecodingOptions().is_endpoint(
        decoded_s=decoded_s, silent_s=silent_s, cost_of_end=cost_of_end
    )
    assert found is over


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["beam", "max-active", "endpoint.rule1.min-trailing-silence"])
    | st.text(max_size=20),
    value=st.text(max_size=8) | st.floats().map(str),
)
def test_any_line_is_read_or_refused(tmp_path: Path, name: str, value: str) -> None:
    with suppress(ModelError):
        assert len(read(tmp_path, f"--{name}={value}").rules) == 5
