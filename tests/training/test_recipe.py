"""All stages of the recipe, in order and resumed."""

from __future__ import annotations

import importlib.util
import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from training.recipe import Stage, run, stages


def _writes(file: Path, name: str) -> Stage:
    """A stage that appends its name to a file."""
    code = f"open({str(file)!r}, 'a').write({name!r})"
    return Stage(name, "timeit", ("-n", "1", "-r", "1", code))


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    log, done = tmp_path / "log", tmp_path / "done"
    fails = Stage("fails", "timeit", ("-n", "1", "-r", "1", "1 / 0"))
    with pytest.raises(SystemExit, match="fails failed with status 1; run this again to go on"):
        run([_writes(log, "a"), fails, _writes(log, "b")], done)
    assert log.read_text() == "a"
    todo = [_writes(log, "a"), _writes(log, "x"), _writes(log, "b")]
    run(todo, done)
    assert log.read_text() == "axb"
    run(todo, done, again_from="x")
    assert log.read_text() == "axbxb"


def test_what_is_done_anew_begins_with_nothing(tmp_path: Path) -> None:
    log, done = tmp_path / "log", tmp_path / "done"
    kept, lost = tmp_path / "kept.pt", tmp_path / "lost.pt"
    a, b = _writes(log, "a"), _writes(log, "b")
    fails = Stage("b", "timeit", ("-n", "1", "-r", "1", "1 / 0"))
    todo = [replace(a, makes=(kept,)), replace(b, makes=(lost,)), _writes(log, "c")]
    run(todo, done)
    kept.touch()
    lost.touch()
    run(todo, done)
    assert lost.exists()
    with pytest.raises(SystemExit, match="b failed"):
        run([todo[0], replace(fails, makes=(lost,)), todo[2]], done, again_from="b")
    assert kept.exists()
    assert not lost.exists()
    run(todo, done)  # what came after the failed stage is old, and done again too
    assert log.read_text() == "abcbc"


def test_another_command_takes_nothing_for_its_own(tmp_path: Path) -> None:
    log, done = tmp_path / "log", tmp_path / "done"
    run([_writes(log, "a")], done)
    with pytest.raises(SystemExit, match=r"done by another command \(a: .*give --from a to do"):
        run([_writes(tmp_path / "other", "a")], done)


def test_what_a_training_leaves_is_what_is_taken_away() -> None:
    todo = stages(Path("d"), Path("w"), Path("m"))
    trainings = [s for s in todo if s.module == "training.train"]
    for stage in trainings:
        name = stage.arguments[stage.arguments.index("--name") + 1]
        work = Path(stage.arguments[stage.arguments.index("--work") + 1])
        assert stage.makes == (work / f"{name}.pt",)
    others = {s.name: [f.name for f in s.makes] for s in todo if s not in trainings and s.makes}
    assert others == {
        "prepare": ["corpus.pickle", "prepared.pickle"],
        "vocoder": ["resynthesis.pickle"],
        "voices": ["revoiced.pickle"],
        "drawn-prepare": ["corpus.pickle", "prepared.pickle"],
        "drawn-vocoder": ["resynthesis.pickle"],
        "drawn-voices": ["revoiced.pickle"],
        "sound": ["spoken_language.pt"],
    }


def test_every_option_is_one_of_its_module() -> None:
    # Read, not run: those that build graphs bring another OpenFst than Vosk's (see test_smoke).
    for stage in stages(Path("data"), Path("work"), Path("models")):
        if stage.module == "ivr":
            continue
        found = importlib.util.find_spec(stage.module)
        assert found is not None, stage.module
        assert found.origin is not None
        source = Path(found.origin).read_text(encoding="utf-8")
        common = re.search(r"places\.parser\(__doc__, (.*?)\)", source)
        for option in (a for a in stage.arguments if a.startswith("--")):
            named = common is not None and f'"{option[2:]}"' in common[1]
            assert named or f'"{option}"' in source, (stage.name, option)


def test_what_a_stage_begins_with_is_made_before() -> None:
    made: set[str] = set()
    for stage in stages(Path("d"), Path("w"), Path("m")):
        given = dict(itertools.pairwise(stage.arguments))
        needed = [a for a in stage.arguments if a.endswith(".pt")]
        needed += [f"w/{given['--from']}.pt"] if "--from" in given else []
        assert set(needed) <= made, stage
        if "--name" in given:
            made.add(f"{given['--work']}/{given['--name']}.pt")
    todo = stages(Path("d"), Path("w"), Path("m"))
    exports = [s for s in todo if s.module == "training.export"]
    assert [s.arguments[s.arguments.index("--checkpoints") + 1 :] for s in exports] == [
        (
            *("w/context-cmn.pt", "w/drawn/drawn-cmn.pt") * 3,
            *("w/memory-cmn.pt", "w/further-cmn.pt", "w/people-cmn.pt"),
        ),
        ("w/memory-yue.pt", "w/people-yue.pt", *["w/voices-yue.pt"] * 2),
    ]


def test_a_share_of_the_updates_is_for_a_look_at_all_stages() -> None:
    def updates(share: float) -> list[int]:
        found = stages(Path("d"), Path("w"), Path("m"), updates_share=share)
        return [
            int(s.arguments[s.arguments.index("--updates") + 1])
            for s in found
            if "--updates" in s.arguments
        ]

    assert updates(0.02) == [round(0.02 * n) for n in updates(1.0)]
    assert min(updates(1e-9)) == 1


def test_other_models_do_not_fit_the_matcher_of_those_installed() -> None:
    names = [s.name for s in stages(Path("d"), Path("w"), Path("elsewhere"))]
    assert "matcher" not in names
    assert names[-1] == "evaluate"


def test_other_voices_are_made_before_the_third_training() -> None:
    names = [s.name for s in stages(Path("d"), Path("w"), Path("m"))]
    assert names[names.index("voices") - 1 : names.index("voices") + 2] == [
        "second",
        "voices",
        "third",
    ]


def test_a_training_with_drawn_voices_finds_all_that_the_others_hear() -> None:
    todo = stages(Path("d"), Path("w"), Path("m"))
    made = {file for s in todo for file in s.makes}
    heard = {"prepared.pickle", "resynthesis.pickle", "revoiced.pickle"}
    assert {Path("w/drawn", name) for name in heard} <= made
    before = [s.name for s in todo]
    assert before.index("drawn-voices") + 1 == before.index("drawn-cmn")
