"""Weights fitted out of fold, on a part of the phrases that are shipped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ivr.intent.calibration import CALIBRATION_FILE, Calibration
from ivr.intent.cases import OFF_TOPIC
from ivr.intent.evaluate import measure
from ivr.intent.matcher import Matcher
from ivr.intent.train import (
    AROUND,
    BY_LENGTH,
    TRIALS,
    Dealt,
    Form,
    families,
    fit,
    folds,
    labelled,
    messages,
    train,
)
from ivr.language import Language
from ivr.queues.catalogue import Catalogue, Phrases, load_catalogue

ROOT = Path(__file__).resolve().parents[2]
MOST = 24  # phrases an owner and language


def _few(phrases: Phrases) -> Phrases:
    return Phrases(**{k.value: listed[:MOST] for k, listed in phrases.items()})


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    whole = load_catalogue(ROOT / "config/queues.yaml")
    return whole.model_copy(
        update={
            "queues": tuple(
                q.model_copy(update={"phrases": _few(q.phrases)}) for q in whole.queues[:3]
            ),
            "default_queue": whole.queues[0].id,
            "emergencies": tuple(
                e.model_copy(update={"phrases": _few(e.phrases)}) for e in whole.emergencies[:1]
            ),
            "off_topic": _few(whole.off_topic),
        }
    )


def test_every_phrase_is_held_out_once_and_known_to_the_others(catalogue: Catalogue) -> None:
    for dealt in Dealt:
        parts = list(folds(catalogue, dealt))
        assert sorted(map(str, labelled(catalogue))) == sorted(
            str(p) for part in parts for p in part.held_out
        )
        for part in parts:
            assert not set(labelled(part.catalogue)) & set(part.held_out)
            assert len(labelled(part.catalogue)) + len(part.held_out) == len(labelled(catalogue))


def test_families_are_never_parted(catalogue: Catalogue) -> None:
    phrases = labelled(catalogue)
    family = dict(zip(phrases, families(phrases), strict=True))
    assert len(set(family.values())) < len(phrases)  # some belong together
    for part in folds(catalogue, Dealt.BY_MATTER):
        inside = {family[p] for p in part.held_out}
        assert not inside & {family[p] for p in labelled(part.catalogue)}


def test_wordings_of_a_matter_are_one_family(catalogue: Catalogue) -> None:
    phrases = [p for p in labelled(catalogue) if p.expected != OFF_TOPIC][:1]
    other = [type(p)(p.text + "呀", p.language.other, p.expected) for p in phrases]
    assert len(set(families([*phrases, *other]))) == 1


def test_messages_are_made_of_what_is_held_out(catalogue: Catalogue) -> None:
    fold = next(folds(catalogue))
    made = messages(fold)
    assert made == messages(fold)
    known = {p.text for p in labelled(fold.catalogue)} | {
        t for talk in fold.context.values() for t in talk
    }
    assert {m.expected for m in made} >= {AROUND, OFF_TOPIC, catalogue.queues[0].id}
    for m in made:
        assert not known & set(m.text.split("，"))
        if m.expected not in (AROUND, OFF_TOPIC):
            own = {p.text for p in fold.held_out if p.expected == m.expected}
            assert own & set(m.text.split("，"))


def test_weights_find_the_evidence_that_counts() -> None:
    """Of ten kinds of evidence the third alone tells, and it gets its true weight."""
    rng = np.random.default_rng(4)
    designs, chosen = [], []
    for _ in range(1500):
        design = rng.normal(size=(4, len(Calibration.weight_names())))
        p = np.exp(2.0 * design[:, 2])
        designs.append(design)
        chosen.append(int(rng.choice(4, p=p / p.sum())))
    weights = fit(designs, chosen).vector()
    assert weights[2] == pytest.approx(2.0, abs=0.25)
    assert np.abs(np.delete(weights, 2)).max() < 0.25


def test_training_gives_weights_and_outcomes_of_every_phrase(catalogue: Catalogue) -> None:
    done: list[float] = []
    trained = train(catalogue, advance=done.append)
    assert len(done) == 20
    assert set(trained.outcomes) == {(dealt, *trial) for dealt in Dealt for trial in TRIALS}
    clean = measure(trained.outcomes[Dealt.BY_WORDING, Form.PHRASE, 0.0])
    assert clean.queues.total == sum(len(p) for q in catalogue.queues for _, p in q.phrases.items())
    assert clean.queues.value > 0.7
    noisy = measure(trained.outcomes[Dealt.BY_WORDING, Form.HEARD, 0.0])
    assert noisy.queues.value < clean.queues.value
    assert trained.calibration.ridge > 1
    assert all(
        getattr(trained.calibration, name) == getattr(Calibration(), name) for name in BY_LENGTH
    )
    assert trained.calibration.wrong_above != Calibration().wrong_above
    assert trained == train(catalogue)  # no chance in it


def test_the_file_beside_the_queues_counts(catalogue: Catalogue) -> None:
    flat = Calibration(**dict.fromkeys(Calibration.weight_names(), 0.0))
    plain = Matcher(catalogue)
    weighed = Matcher(catalogue.model_copy(update={"calibration": flat}))
    text = catalogue.queues[0].phrases[Language.MANDARIN][0]
    sure = plain.match(text, Language.MANDARIN).confidence
    assert weighed.match(text, Language.MANDARIN).confidence < 0.5 < sure
    assert CALIBRATION_FILE == "calibration.json"
    assert json.loads(flat.model_dump_json())["ridge"] == 0.0
