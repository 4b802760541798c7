"""Call centres to simulate: single pools with exact answers, and one with every feature."""

from __future__ import annotations

from dataclasses import replace

from ivr.queues.simulation import (
    NEVER,
    ArrivalRates,
    CallBack,
    CentreModel,
    Constant,
    Distribution,
    Empirical,
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
)

HOUR_S = 3600.0


def pool(
    per_hour: float,
    service: Distribution,
    agents: int,
    *,
    patience: Distribution = NEVER,
    hours: float = 24.0,
    warm_up_hours: float = 0.0,
    within_s: float = 15.0,
) -> CentreModel:
    """One queue, one group, the same all the time."""
    shift = Shift(from_s=0, to_s=HOUR_S, agents=agents)
    return CentreModel(
        needs=(Need(name="any", queue="all", service=service, patience=patience),),
        queues=(Queue(name="all"),),
        groups=(Group(name="agents", skills=(Skill(queue="all"),), shifts=(shift,)),),
        arrivals=ArrivalRates(per_hour=((per_hour,),), interval_s=HOUR_S),
        period_s=HOUR_S,
        length_s=hours * HOUR_S,
        warm_up_s=warm_up_hours * HOUR_S,
        answer_within_s=within_s,
    )


def full_centre(*, hours: float = 24.0, load: float = 1.0) -> CentreModel:
    """Three queues and three needs, five groups, and everything that the model can express."""
    day = [0.2] * 14 + [0.8, 1.2, 1.4, 1.3] + [1.1] * 16 + [0.7] * 8 + [0.3] * 6
    weights = (80.0, 50.0, 30.0)
    everyone = (
        Skill(queue="general", level=1, service_factor=1.2),
        Skill(queue="housing", level=1, after_s=20.0),
        Skill(queue="tax", level=1, after_s=40.0),
    )
    return CentreModel(
        needs=(
            Need(name="general", queue="general", service=LogNormal(170.0, 200.0),
                 wrap_up=Exponential(20.0), patience=Exponential(300.0)),
            Need(name="housing", queue="housing", service=LogNormal(220.0, 150.0),
                 wrap_up=Constant(15.0), patience=LogNormal(240.0, 300.0)),
            Need(name="tax", queue="tax", service=Empirical((60.0, 120.0, 240.0, 600.0)),
                 patience=Empirical((5.0, 60.0, 400.0, float("inf"))), priority=3),
        ),
        queues=(
            Queue(name="general"),
            Queue(name="housing", priority=4),
            Queue(name="tax", hours_s=((8 * HOUR_S, 18 * HOUR_S),), closed_to="general"),
        ),
        groups=(
            Group(name="day", skills=(Skill(queue="general"),),
                  shifts=(Shift(from_s=8 * HOUR_S, to_s=20 * HOUR_S, agents=5),)),
            Group(name="night", skills=(Skill(queue="general"), Skill(queue="housing")),
                  shifts=(Shift(from_s=20 * HOUR_S, to_s=32 * HOUR_S, agents=3),)),
            Group(name="housing", skills=(Skill(queue="housing"),),
                  shifts=(Shift(from_s=8 * HOUR_S, to_s=20 * HOUR_S, agents=4),)),
            Group(name="tax", skills=(Skill(queue="tax"),),
                  shifts=(Shift(from_s=8 * HOUR_S, to_s=18 * HOUR_S, agents=3),)),
            Group(name="all", skills=everyone,
                  shifts=(Shift(from_s=7 * HOUR_S, to_s=13 * HOUR_S, agents=3),
                          Shift(from_s=12 * HOUR_S, to_s=21 * HOUR_S, agents=2))),
        ),
        arrivals=ArrivalRates(
            per_hour=tuple(tuple(load * f * w / 2 for w in weights) for f in day),
            busyness_cv=0.1,
        ),
        front_end=FrontEnd(
            name="menu", seconds=LogNormal(20.0, 8.0),
            routing=((0.9, 0.06, 0.04), (0.1, 0.85, 0.05), (0.1, 0.1, 0.8)),
            asked_again=(0.1, 0.2, 0.1), again_seconds=Exponential(10.0),
            contained=(0.1, 0.05, 0.0), contained_seconds=Exponential(60.0),
            hung_up=(0.02, 0.02, 0.02),
        ),
        transfer=Transfer(seconds=Exponential(40.0), priority=2, keeps_place=True,
                          fresh_patience=False),
        redial=Redial(probability=0.4, delay=Exponential(600.0), most=2),
        call_back=CallBack(offer_wait_s=60.0, acceptance=0.3, reached=0.9),
        length_s=hours * HOUR_S,
    )  # fmt: skip


def with_front_end(model: CentreModel, **changes: object) -> CentreModel:
    """The same centre with a changed front end: the other arm of a comparison."""
    return replace(model, front_end=replace(model.front_end, **changes))  # type: ignore[arg-type]
