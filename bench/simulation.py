"""How fast the queue simulator is, beside Ciw and SimPy on the same model in the same run.

    python -m bench.simulation [--scenario config/scenarios/city.yaml] [--replications 30]

* **Peers**: M/M/50 with patience, 48 calls a minute, service mean 1 min, patience mean 2 min
  (Erlang A: 3.091 % abandon, mean wait 3.7095 s), in Kapok, Ciw and SimPy, one core each. Ciw and
  SimPy are skipped where they are not installed (``pip install -e '.[test]'``).
* **Everything at once**: three queues with skills, overflow, priorities, patience, redials,
  call-backs, misroutes with transfer, containment, shifts and opening hours.
* **Memory**: the peak of the process after a short and after a run 50 times as long.
* **A week** of a scenario, both arms, all replications, on all cores.
* **Cold start**: the kernel compiled anew, in a process of its own with an empty cache.

Speeds are calls per second of processor time; compare ratios, not machines.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ivr.queues.erlang import erlang_a
from ivr.queues.simulation import (
    ArrivalRates,
    CallBack,
    CentreModel,
    Exponential,
    FrontEnd,
    Group,
    LogNormal,
    Need,
    Queue,
    Redial,
    Shift,
    Skill,
    Transfer,
    replicate,
    simulate,
)
from ivr.queues.simulation.runs import compile_kernel

HOUR_S = 3600.0
SCENARIO = Path(__file__).parent.parent / "config" / "scenarios" / "city.yaml"
PER_MINUTE, SERVICE_MIN, PATIENCE_MIN, AGENTS = 48.0, 1.0, 2.0, 50


def pool(hours: float) -> CentreModel:
    """M/M/50 with patience."""
    return CentreModel(
        needs=(Need(name="n", queue="q", service=Exponential(60.0), patience=Exponential(120.0)),),
        queues=(Queue(name="q"),),
        groups=(
            Group(
                name="g",
                skills=(Skill(queue="q"),),
                shifts=(Shift(from_s=0, to_s=HOUR_S, agents=AGENTS),),
            ),
        ),
        arrivals=ArrivalRates(per_hour=((60 * PER_MINUTE,),), interval_s=HOUR_S),
        period_s=HOUR_S,
        length_s=hours * HOUR_S,
    )


def everything(days: float) -> CentreModel:
    """A call centre that uses every feature of the model, with 8,000 calls a day."""
    profile = [0.15] * 14 + [0.5, 0.9] + [1.5, 1.6, 1.6, 1.5, 1.3, 1.2, 1.2, 1.3] + [1.4] * 12
    profile += [0.9] * 6 + [0.4] * 6
    shares = {"general": 0.4, "housing": 0.35, "tax": 0.25}
    staff = {"general": 15, "housing": 14, "tax": 9}
    patience, service = LogNormal(300.0, 300.0), LogNormal(185.0, 363.0)
    names = tuple(shares)
    cross = tuple(
        Skill(queue=n, level=i > 0, after_s=20.0 * i, service_factor=1 + 0.1 * i)
        for i, n in enumerate(names)
    )
    busy = [
        Group(
            name=name,
            skills=(Skill(queue=name),),
            shifts=(
                Shift(from_s=8 * HOUR_S, to_s=21 * HOUR_S, agents=agents),
                Shift(from_s=21 * HOUR_S, to_s=32 * HOUR_S, agents=agents // 4 + 1),
            ),
        )
        for name, agents in staff.items()
    ]
    flex = Group(
        name="flexible",
        skills=cross,
        shifts=(Shift(from_s=7 * HOUR_S, to_s=20 * HOUR_S, agents=4),),
    )
    return CentreModel(
        needs=tuple(
            Need(name=n, queue=n, service=service, wrap_up=Exponential(20.0), patience=patience)
            for n in names
        ),
        queues=(
            Queue(name="general"),
            Queue(name="housing", priority=4),
            Queue(name="tax", hours_s=((8 * HOUR_S, 20 * HOUR_S),), closed_to="general"),
        ),
        groups=(*busy, flex),
        arrivals=ArrivalRates(
            per_hour=tuple(tuple(417 * f * share for share in shares.values()) for f in profile),
            busyness_cv=0.08,
        ),
        front_end=FrontEnd(
            seconds=LogNormal(25.0, 10.0),
            routing=((0.88, 0.07, 0.05), (0.1, 0.85, 0.05), (0.1, 0.1, 0.8)),
            asked_again=(0.1, 0.1, 0.1),
            again_seconds=Exponential(10.0),
            contained=(0.05, 0.05, 0.05),
            contained_seconds=Exponential(60.0),
            hung_up=(0.02, 0.02, 0.02),
        ),
        transfer=Transfer(seconds=Exponential(45.0), priority=3),
        redial=Redial(probability=0.4),
        call_back=CallBack(offer_wait_s=120.0, acceptance=0.3, reached=0.9),
        length_s=days * 24 * HOUR_S,
    )


def kapok(calls: int) -> int:
    """Calls that were simulated."""
    return simulate(pool(calls / PER_MINUTE / 60), 1).calls.offered


def ciw(calls: int) -> int:
    """The same in Ciw."""
    import ciw as library

    network = library.create_network(
        arrival_distributions=[library.dists.Exponential(PER_MINUTE)],
        service_distributions=[library.dists.Exponential(1 / SERVICE_MIN)],
        reneging_time_distributions=[library.dists.Exponential(1 / PATIENCE_MIN)],
        number_of_servers=[AGENTS],
    )
    library.seed(1)
    simulation = library.Simulation(network)
    simulation.simulate_until_max_time(calls / PER_MINUTE)
    return len(simulation.get_all_records())


def simpy(calls: int) -> int:
    """The same in SimPy: one process a caller, who waits for an agent or the end of patience."""
    import simpy as library

    world, rng = library.Environment(), random.Random(1)
    agents = library.Resource(world, AGENTS)
    served = 0

    def caller():  # type: ignore[no-untyped-def]
        nonlocal served
        with agents.request() as request:
            given_up = world.timeout(rng.expovariate(1 / PATIENCE_MIN))
            yield request | given_up
            if request.triggered:
                yield world.timeout(rng.expovariate(1 / SERVICE_MIN))
        served += 1

    def arrivals():  # type: ignore[no-untyped-def]
        while True:
            yield world.timeout(rng.expovariate(PER_MINUTE))
            world.process(caller())

    world.process(arrivals())
    world.run(until=calls / PER_MINUTE)
    return served


def speed(run: Callable[[int], int], calls: int) -> float:
    """Calls a second of processor time."""
    started = time.process_time()
    return run(calls) / (time.process_time() - started)


def peers() -> None:
    """Kapok, Ciw and SimPy, in turn, best of three."""
    runs = {"kapok": (kapok, 1_500_000), "ciw": (ciw, 20_000), "simpy": (simpy, 50_000)}
    here = {n: run for n, run in runs.items() if n == "kapok" or importlib.util.find_spec(n)}
    best = dict.fromkeys(here, 0.0)
    for _ in range(3):
        for name, (run, calls) in here.items():
            best[name] = max(best[name], speed(run, calls))
    exact = erlang_a(60 * PER_MINUTE, 60.0, AGENTS, patience_s=120.0)
    found = simulate(pool(600), 2).calls
    print(
        f"M/M/50 with patience: mean wait {found.mean_wait_s:.3f} s (exact "
        f"{exact.mean_wait_s:.3f}), abandoned {found.abandonment:.3%} ({exact.abandoned:.3%})"
    )
    for name, calls_s in best.items():
        ratio = (
            "" if name == "kapok" else f"   kapok is {best['kapok'] / calls_s:.0f} times as fast"
        )
        print(f"  {name:<8}{calls_s:>12,.0f} calls/s{ratio}")
    for name in runs.keys() - here.keys():
        print(f"  {name}: not installed, no ratio")


def full_features() -> None:
    """The speed with everything the model can express."""
    model = everything(20)
    best, result = 0.0, simulate(model, 1)
    for seed in range(3):
        started = time.process_time()
        result = simulate(model, seed)
        best = max(best, result.calls.offered / (time.process_time() - started))
    calls = result.calls
    print(
        f"everything at once: {best:,.0f} calls/s on one core\n"
        f"  {calls.p_wait:.0%} wait, {calls.abandonment:.1%} abandon, {calls.transfer_rate:.1%} "
        f"are passed on, {calls.redials:,} redials, {calls.call_backs:,} call-backs, agents busy "
        + ", ".join(f"{group.utilisation:.0%}" for group in result.groups.values())
    )


def memory() -> None:
    """Peak memory of the process, after a short and a long run."""
    peaks = []
    for days in (10, 500):
        offered = simulate(everything(days), 3).calls.offered
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        peaks.append(f"{peak_mb:.1f} MB after {offered:,} calls")
    print("memory: " + ", ".join(peaks))


def week(path: Path, replications: int) -> None:
    """A week of a scenario, both arms, on all cores."""
    from ivr.queues.scenario import load_scenario
    from ivr.queues.scenario_model import AFTER, BEFORE, scenario_model

    scenario = load_scenario(path)
    arms = {
        name: replace(scenario_model(scenario, side), length_s=7 * 24 * HOUR_S)
        for name, side in (("before", BEFORE), ("after", AFTER))
    }
    started = time.perf_counter()
    study = replicate(arms, seed=1, replications=replications)
    took_s = time.perf_counter() - started
    offered = sum(study.merged(arm).calls.offered for arm in arms)
    print(
        f"a week of {path.stem}, both arms, {replications} replications: {took_s:.1f} s on "
        f"{len(os.sched_getaffinity(0))} cores ({offered:,} calls)"
    )


def cold_start() -> None:
    """How long the very first run takes, and how long any later one takes to begin."""
    script = "from ivr.queues.simulation.runs import compile_kernel; compile_kernel()"
    with tempfile.TemporaryDirectory() as cache:
        took = []
        for _ in range(2):
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", script],
                env=os.environ | {"NUMBA_CACHE_DIR": cache},
                check=True,
            )
            took.append(time.perf_counter() - started)
    print(f"cold start: {took[0]:.1f} s to compile the kernel, once; {took[1]:.1f} s afterwards")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", type=Path, default=SCENARIO, help="for the week")
    parser.add_argument("--replications", type=int, default=30)
    options = parser.parse_args()
    compile_kernel()
    full_features()
    memory()
    peers()
    if options.scenario.exists():
        week(options.scenario, options.replications)
    cold_start()


if __name__ == "__main__":
    main()
