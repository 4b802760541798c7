"""Fuzzing of everything that parses what comes from outside.

    make fuzz                            all of it: more than a million inputs, minutes
    python -m fuzz --only twilio,yaml    some of it
    python -m fuzz --list                what there is

| module | what |
|---|---|
| ``targets.py``, ``kept.py`` | the parsers, with inputs to begin from and what must hold |
| ``target.py`` | what a target is |
| ``mutate.py`` | inputs from those, changed at random; the same for the same seed |
| ``worker.py`` | one target in a process of its own, guided by coverage where atheris is there |
| ``__main__.py`` | all targets, on all cores |

An input that a target fails on is written to ``reports/fuzz/``; ``python -m fuzz.worker TARGET
--reproduce FILE`` shows it again.
"""
