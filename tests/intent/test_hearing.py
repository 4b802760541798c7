"""What was heard of phrases, as a file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.errors import ConfigError
from ivr.intent.hearing import HEARD, Hearing, read, write
from ivr.language import Language
from ivr.queues.catalogue import load_catalogue

ROOT = Path(__file__).resolve().parents[2]
HEARINGS = st.lists(
    st.builds(
        Hearing,
        st.text(max_size=8),
        st.sampled_from(list(Language)),
        st.lists(st.tuples(st.text(max_size=8), st.floats(0, 1)), max_size=3).map(tuple),
    ),
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(HEARINGS)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, hearings: list[Hearing]
) -> None:
    file = tmp_path_factory.mktemp("heard") / "x.gz"
    write(hearings, file)
    assert read(file) == {(h.language, h.text): list(h.heard) for h in hearings}
    first = file.read_bytes()
    write(hearings, file)
    assert file.read_bytes() == first


def test_without_a_file_nothing_was_heard(tmp_path: Path) -> None:
    assert read(tmp_path / "none.gz") == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzip.compress(b"[]\n", mtime=0),
        gzip.compress(b'{"text": "x"}\n', mtime=0),
        b"\x1f\x8b\x08",
    ],
)
def test_another_file_is_refused_with_the_mend(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.gz"
    file.write_bytes(content)
    if content == b"":
        assert read(file) == {}  # gzip: nothing compressed is nothing
        return
    with pytest.raises(ConfigError, match=r"x\.gz.*python -m training\.hearing"):
        read(file)


def test_the_shipped_file_is_of_shipped_phrases_with_recognition_errors() -> None:
    heard = read(HEARD)
    catalogue = load_catalogue(ROOT / "config/queues.yaml")
    owners = (*catalogue.queues, *catalogue.emergencies)
    known = {
        (language, phrase)
        for phrases in (*(o.phrases for o in owners), catalogue.off_topic)
        for language, listed in phrases.items()
        for phrase in listed
    }
    assert len(heard) > 1000
    assert len(known & set(heard)) > 0.9 * len(heard)
    right = sum(bool(lines) and lines[0][0] == text for (_, text), lines in heard.items())
    assert 0.2 < right / len(heard) < 0.95
