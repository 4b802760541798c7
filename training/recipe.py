"""From the recordings to the models that ship: every stage, one command, resumed where it was.

    python -m training.recipe --data ../shared/data         some twenty hours on 2 cores
    python -m training.recipe --updates-share 0.02          all stages with a fiftieth of the updates

The languages are trained together, so one command makes both models. A stage that is done is not
done again: ``work/recipe/STAGE`` says that it is, and by which command; another one, as with another
``--updates-share``, is refused. The trainings resume from their own checkpoints, and the seeds are
fixed. ``--from STAGE`` does that stage anew, and those after it: what they made is taken away first.

The thirteen trainings are those of the models that ship, each but the first begun with the weights of
another; what they are for stands in docs/experiments.md. Their length is counted in updates, so
that a faster machine makes the same models sooner.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training import places

__all__ = ["Stage", "main", "stages"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A command, ``python -m MODULE ARGUMENTS``; for ``ivr``, the command line itself."""

    name: str
    module: str
    arguments: tuple[str, ...]
    makes: tuple[Path, ...] = ()
    """What it would go on from; taken away before it is done anew."""

    def __str__(self) -> str:
        program = "ivr" if self.module == "ivr" else f"python -m {self.module}"
        return f"{self.name}: {program} {' '.join(self.arguments)}"

    def command(self) -> list[str]:
        """To be run from the root of the repository."""
        if self.module == "ivr":
            return [sys.executable, "-c", "from ivr.cli import main; main()", *self.arguments]
        return [sys.executable, "-m", self.module, *self.arguments]


@dataclass(frozen=True, slots=True)
class _Training:
    name: str
    begins: tuple[str, ...]
    """Names of the trainings with whose weights it goes on: their average."""
    updates: int
    arguments: str
    drawn: bool = False
    """Seven tenths of its synthetic speech are in drawn voices."""


#: MMI from the start, with a little cross-entropy beside it.
_SEQUENCES = "--entropy-share 0 --entropy-weight 0.15 "
#: What is left of the 256: no syllable is lost on held-out people, and a call costs little more.
_MANDARIN_BOTTLENECK = 144
_MANDARIN = (
    _SEQUENCES + f"--only cmn --bottleneck {_MANDARIN_BOTTLENECK} --rate 1e-3 --dropout 0.07 "
)

_IN_CONTEXT = _MANDARIN + "--warp 0.08 --in-context 75"

#: Mandarin's last trainings of units without context.
_PLAIN = ("memory-cmn", "further-cmn", "people-cmn")

_TRAININGS = (
    # Frames as the alignment labels them, then lattice-free MMI.
    _Training("first", (), 27_000, "--entropy-share 0.4 --rate 2e-3"),
    # Vocoder speech, and more dropout; MMI from the start.
    _Training("second", ("first",), 33_000, "--entropy-share 0 --rate 2e-3 --dropout 0.1"),
    # Layers of each language's own learn what is particular to it.
    _Training(
        "third",
        ("second",),
        15_500,
        _SEQUENCES + "--rate 1e-3 --dropout 0.07 --dropout-yue 0.15 --warp 0.06",
    ),
    # Mandarin alone, in a wider network: it had more to learn than the one of both could hold.
    _Training(
        "mandarin",
        ("third",),
        11_000,
        _SEQUENCES
        + "--only cmn --bottleneck 256 --processes 2 --rate 1.5e-3 --dropout 0.1 --warp 0.08",
    ),
    # Each language by itself, with a memory. Below, Cantonese keeps what both languages taught,
    # whose speakers are many more.
    _Training(
        "memory-cmn",
        ("narrow",),
        8_100,
        _MANDARIN + "--warp 0.06",
    ),
    _Training(
        "memory-yue",
        ("third",),
        9_000,
        _SEQUENCES + "--only yue --keep-below --rate 1e-3 --dropout 0.15 --warp 0.08",
    ),
    # And once more, the voices moved further.
    _Training(
        "further-cmn",
        ("memory-cmn",),
        12_900,
        _MANDARIN + "--warp 0.08",
    ),
    _Training(
        "further-yue",
        ("memory-yue",),
        16_300,
        _SEQUENCES + "--only yue --keep-below --rate 1e-3 --dropout 0.18 --warp 0.1",
    ),
    # Speakers with many recordings no more than their share (training/factory.py); and Mandarin's
    # people teach the upper layers of Cantonese too.
    _Training(
        "people-cmn",
        ("further-cmn",),
        14_600,
        _MANDARIN + "--warp 0.08",
    ),
    _Training(
        "people-yue",
        ("memory-yue", "further-yue"),
        21_400,
        _SEQUENCES
        + "--through yue --keep-below --rate 1e-3 --dropout 0.1 --dropout-yue 0.18 --warp 0.1",
    ),
    # And once more alone, men's sentences mostly in women's voices and women's in men's.
    _Training(
        "voices-yue",
        ("memory-yue", "people-yue"),
        5_600,
        _SEQUENCES + "--only yue --keep-below --rate 1e-3 --dropout 0.18 --warp 0.1",
    ),
    # Units in context, twice apart, for an average.
    _Training("context-cmn", _PLAIN, 2_250, _IN_CONTEXT),
    _Training("drawn-cmn", _PLAIN, 2_250, _IN_CONTEXT, drawn=True),
)

#: Trainings whose average ships, each as often as it weighs.
_SHIPPED = {
    "cmn": (*["context-cmn", "drawn-cmn"] * 3, *_PLAIN),
    "yue": ("memory-yue", "people-yue", "voices-yue", "voices-yue"),
}

#: Where what the trainings with drawn voices hear lies, beside what the others hear.
_DRAWN = "drawn"

#: Of the network that hears the language.
_SOUND_UPDATES = 4_500

#: The third network of the second pass; its Conformer is trained on a GPU.
_CONVOLUTIONAL = (
    _Training(
        "convolutional",
        (),
        8_750,
        "--network convolutional --entropy-share 0.45 --dropout 0.1 --warp 0.1 --masked 1.5",
    ),
    _Training(
        "convolutional-longer",
        ("convolutional",),
        12_800,
        "--network convolutional --entropy-share 0 --rate 0.0015 --dropout 0.1 --warp 0.1 "
        "--masked 1.5",
    ),
)


def stages(data: Path, work: Path, models: Path, *, updates_share: float = 1.0) -> list[Stage]:
    """All stages in their order.

    Args:
        data: the speech and the texts.
        work: where what is made on the way lies.
        models: where the models are written to.
        updates_share: of the updates of each training.
    """
    at = ("--data", str(data), "--work", str(work))
    *found, voices = _speech("", data, work, ())
    for seed, training in enumerate(_TRAININGS, 1):
        if training.name == "third":  # those before it do without
            found.append(voices)
        if training.drawn:
            found += _speech(
                "drawn-", data, work / _DRAWN, ("--synthetic", "12000", "--drawn", "0.7")
            )
        found.append(_train(training, seed, data, work, updates_share))
        if training.name == "mandarin":
            narrower = ("--name", "narrow", "--bottleneck", str(_MANDARIN_BOTTLENECK))
            found.append(Stage("narrow", "training.narrow", (*at, "--from", "mandarin", *narrower)))
    to_models = ("--models", str(models))
    sound = ("--updates", str(max(1, round(_SOUND_UPDATES * updates_share))))
    found += [
        _export("cmn", at, models),
        _export("yue", at, models),
        *(
            _train(training, seed, data, work, updates_share, *to_models)
            for seed, training in enumerate(_CONVOLUTIONAL, 1)
        ),
        Stage(
            "export-convolutional",
            "training.export_convolutional",
            (str(_checkpoint(work, _CONVOLUTIONAL[-1].name)), *to_models),
        ),
        Stage(
            "sound",
            "training.spoken_language",
            (*at, *to_models, *sound),
            (work / "spoken_language.pt",),
        ),
        Stage("language", "training.language", (*at, *to_models)),
    ]
    if models == Path("models"):  # what the matcher is fitted on is heard with the models installed
        found += [
            Stage("hearing", "training.hearing", ()),
            Stage("matcher", "ivr", ("train",)),
        ]
    evaluation = ("--data", str(data), "--models", str(models), "--write-card")
    return [*found, Stage("evaluate", "training.evaluate", evaluation)]


def _train(
    training: _Training, seed: int, data: Path, work: Path, updates_share: float, *more: str
) -> Stage:
    updates = str(max(1, round(training.updates * updates_share)))
    checkpoint = _checkpoint(work, training.name)
    where = ("--data", str(data), "--work", str(checkpoint.parent), "--name", training.name)
    given = (*where, *more, "--seed", str(seed), "--updates", updates)
    begins = [str(_checkpoint(work, name)) for name in training.begins]
    start = ("--start-from", *begins) if begins else ()
    options = (*given, *start, *training.arguments.split())
    return Stage(training.name, "training.train", options, (checkpoint,))


def _checkpoint(work: Path, name: str) -> Path:
    drawn = any(t.drawn for t in _TRAININGS if t.name == name)
    return (work / _DRAWN if drawn else work) / f"{name}.pt"


def _speech(prefix: str, data: Path, work: Path, synthetic: tuple[str, ...]) -> list[Stage]:
    """What is learnt from, in a folder: recordings, the vocoder's speech, other voices."""
    at = ("--data", str(data), "--work", str(work))
    prepared = (work / "corpus.pickle", work / "prepared.pickle")
    voices = ("--voices", "1", "--voices-yue", "6")
    return [
        Stage(f"{prefix}prepare", "training.prepare", (*at, *synthetic), prepared),
        Stage(f"{prefix}vocoder", "training.vocoder", at, (work / "resynthesis.pickle",)),
        Stage(f"{prefix}voices", "training.vocoder", (*at, *voices), (work / "revoiced.pickle",)),
    ]


def _export(language: str, at: tuple[str, ...], models: Path) -> Stage:
    work = Path(at[at.index("--work") + 1])
    averaged = [str(_checkpoint(work, training)) for training in _SHIPPED[language]]
    made = ("--languages", language, "--checkpoints", *averaged)
    return Stage(f"export-{language}", "training.export", (*at, "--models", str(models), *made))


def run(todo: Sequence[Stage], done: Path, *, again_from: str | None = None) -> None:
    """Do what is not done.

    Raises:
        SystemExit: a stage fails, and what it says stands above; or was done by another command.
    """
    done.mkdir(parents=True, exist_ok=True)
    names = [stage.name for stage in todo]
    for stage in todo[names.index(again_from) :] if again_from else ():
        for file in (done / stage.name, *stage.makes):
            file.unlink(missing_ok=True)
    for stage in todo:
        stamp = done / stage.name
        if stamp.exists():
            if (before := stamp.read_text(encoding="utf-8")) != str(stage):
                raise SystemExit(
                    f"{stamp}: done by another command ({before}); give --from {stage.name} to do "
                    "it anew and all after it, or another --work"
                )
            print(f"{stage.name}: done", flush=True)
            continue
        print(stage, flush=True)
        status = subprocess.run(stage.command(), check=False).returncode
        if status:
            raise SystemExit(f"{stage.name} failed with status {status}; run this again to go on")
        stamp.write_text(str(stage), encoding="utf-8")


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "work", "models")
    p.add_argument("--updates-share", type=float, default=1.0, help="of each training's updates")
    p.add_argument("--from", dest="again_from", metavar="STAGE", help="do this and later ones anew")
    p.add_argument("--list", action="store_true", help="say what would be run, and end")
    a = p.parse_args()
    todo = stages(a.data, a.work, a.models, updates_share=a.updates_share)
    if a.again_from and a.again_from not in (names := [s.name for s in todo]):
        p.error(f"no stage is called {a.again_from}: {', '.join(names)}")
    if a.list:
        for stage in todo:
            print(stage)
        return
    run(todo, a.work / "recipe", again_from=a.again_from)


if __name__ == "__main__":
    main()
