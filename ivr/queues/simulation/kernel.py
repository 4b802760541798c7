"""The event-driven kernel, compiled by numba.

Every live call has exactly one next event, so the event heap is indexed by call: a call that is
answered moves its own entry from the end of its patience to the end of its service, nothing stale
is left behind, and memory is that of the live calls. Arrivals and changes of the staff come from
cursors of their own. Ties go by the order in which events were planned; runs are repeatable.

The rules are those of ``model.py``, the measures those of ``results.py``. Functions here take
(t, s, m): tables, state, sums.
"""

# numba compiles these functions: their argument types are its own.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from enum import IntEnum

import numpy as np

from ivr.queues.simulation.compiling import compiled, entry
from ivr.queues.simulation.histogram import BINS, FINE_UNTIL_S, OCTAVE_BINS, PER_SECOND
from ivr.queues.simulation.streams import Purpose, draw, mix, normal_quantile
from ivr.queues.simulation.tables import CONSTANT, EXPONENTIAL, LOGNORMAL

__all__ = ["Outcome", "advance", "close"]


class Outcome(IntEnum):
    """How a call ended, as in the call log."""

    CONTAINED = 0
    HUNG_UP = 1
    CLOSED = 2
    ANSWERED = 3
    ABANDONED = 4
    NOT_REACHED = 5
    UNSERVED = 6


# Plain numbers: numba reads an enumeration's member at a cost.
_CONTAINED, _HUNG_UP, _CLOSED, _ANSWERED, _ABANDONED, _NOT_REACHED, _UNSERVED = map(int, Outcome)
_FREE, _FRONT_END, _WAITING, _HOLDING, _TALKING, _PASSING_ON, _AWAY = range(7)
_TO_QUEUE, _TO_MACHINE, _TO_NOBODY = range(3)
_JOINED, _REJOINED, _CALLED_BACK = range(3)
_P = {purpose.name: int(purpose) for purpose in Purpose}
_ARRIVAL, _NEED, _SERVICE, _WRAP_UP = _P["ARRIVAL"], _P["NEED"], _P["SERVICE"], _P["WRAP_UP"]
_PATIENCE, _MENU, _BUSYNESS = _P["PATIENCE"], _P["FRONT_END"], _P["BUSYNESS"]
_ASKED, _AGAIN_S, _ROUTE = _P["ASKED_AGAIN"], _P["AGAIN_SECONDS"], _P["ROUTE"]
_CONTAIN, _CONTAIN_S, _GIVE_UP = _P["CONTAINED"], _P["CONTAINED_SECONDS"], _P["HUNG_UP"]
_TRANSFER, _REDIAL, _REDIAL_DELAY = _P["TRANSFER"], _P["REDIAL"], _P["REDIAL_DELAY"]
_CALL_BACK, _REACHED, _NO_ANSWER = _P["CALL_BACK"], _P["REACHED"], _P["NO_ANSWER"]
_FINE_BINS = int(FINE_UNTIL_S * PER_SECOND)
_ATTEMPTS = 16  # of a caller; the numbers of a purpose are by caller, attempt and leg

# -- random times -----------------------------------------------------------------------------


@compiled
def _quantile(t, number, u):
    row = t.distributions[number]
    if row.kind == CONSTANT:
        return row.a
    if row.kind == EXPONENTIAL:
        return -row.a * np.log1p(-u)
    if row.kind == LOGNORMAL:
        return np.exp(row.a + row.b * normal_quantile(u))
    return t.values[row.first + np.int64(u * row.count)]


@compiled
def _by_call(slot, leg):
    """The number of a draw that is made once a call (and leg)."""
    return (slot.caller * _ATTEMPTS + slot.attempt) * 2 + leg


# -- the heap of next events ------------------------------------------------------------------


@compiled
def _sift_up(s, place, when_s, i):
    seq = s.slots[i].seq
    while place > 0:
        parent = (place - 1) >> 1
        above = s.heap[parent]
        if above.when_s < when_s or (above.when_s == when_s and s.slots[above.slot].seq < seq):
            break
        s.heap[place].when_s = above.when_s
        s.heap[place].slot = above.slot
        s.slots[above.slot].pos = place
        place = parent
    s.heap[place].when_s = when_s
    s.heap[place].slot = i
    s.slots[i].pos = place


@compiled
def _sift_down(s, place, when_s, i):
    size, seq = s.clock[0].heap, s.slots[i].seq
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size:
            left, right = s.heap[child], s.heap[child + 1]
            if right.when_s < left.when_s or (
                right.when_s == left.when_s and s.slots[right.slot].seq < s.slots[left.slot].seq
            ):
                child += 1
        below = s.heap[child]
        if when_s < below.when_s or (when_s == below.when_s and seq < s.slots[below.slot].seq):
            break
        s.heap[place].when_s = below.when_s
        s.heap[place].slot = below.slot
        s.slots[below.slot].pos = place
        place = child
    s.heap[place].when_s = when_s
    s.heap[place].slot = i
    s.slots[i].pos = place


@compiled
def _plan(s, i, when_s):
    """The next event of call i is at ``when_s``; infinite: it waits for others."""
    slot, clock = s.slots[i], s.clock[0]
    if when_s == np.inf:
        if slot.pos >= 0:
            _forget(s, i)
        return
    clock.seq += 1
    slot.seq = clock.seq
    if slot.pos < 0:
        clock.heap += 1
        _sift_up(s, clock.heap - 1, when_s, i)
    elif when_s < s.heap[slot.pos].when_s:
        _sift_up(s, slot.pos, when_s, i)
    else:
        _sift_down(s, slot.pos, when_s, i)


@compiled
def _forget(s, i):
    place = s.slots[i].pos
    s.slots[i].pos = -1
    s.clock[0].heap -= 1
    size = s.clock[0].heap
    if place == size:
        return
    when_s, moved = s.heap[size].when_s, s.heap[size].slot
    if place > 0 and when_s < s.heap[(place - 1) >> 1].when_s:
        _sift_up(s, place, when_s, moved)
    else:
        _sift_down(s, place, when_s, moved)


@compiled
def _free(s, i):
    if s.slots[i].pos >= 0:
        _forget(s, i)
    s.slots[i].state = _FREE
    s.slots[i].next = s.clock[0].free
    s.clock[0].free = i


# -- lines of waiting calls -------------------------------------------------------------------


@compiled
def _line_up(s, i, line):
    """Into the line, ordered by ``since_s``; nearly always at its end."""
    slot, ends = s.slots[i], s.lines[line]
    behind = ends.tail
    while behind >= 0 and s.slots[behind].since_s > slot.since_s:
        behind = s.slots[behind].prev
    ahead = s.slots[behind].next if behind >= 0 else ends.head
    slot.line, slot.prev, slot.next = line, behind, ahead
    if behind >= 0:
        s.slots[behind].next = i
    else:
        ends.head = i
    if ahead >= 0:
        s.slots[ahead].prev = i
    else:
        ends.tail = i
    ends.count += 1
    s.clock[0].waiting += 1


@compiled
def _step_out(s, i):
    slot = s.slots[i]
    ends = s.lines[slot.line]
    if slot.prev >= 0:
        s.slots[slot.prev].next = slot.next
    else:
        ends.head = slot.next
    if slot.next >= 0:
        s.slots[slot.next].prev = slot.prev
    else:
        ends.tail = slot.prev
    ends.count -= 1
    s.clock[0].waiting -= 1


# -- measures ---------------------------------------------------------------------------------


@compiled
def _bin(wait_s):
    if wait_s <= 0.0:
        return 0
    if wait_s <= FINE_UNTIL_S:
        return min(_FINE_BINS, np.int64(np.ceil(wait_s * PER_SECOND)))
    octaves = np.log2(wait_s / FINE_UNTIL_S) * OCTAVE_BINS
    return min(BINS - 1, _FINE_BINS + np.int64(np.ceil(octaves)))


@compiled
def _clock_in(t, s, g):
    """Bring the hours of a group up to now, warm-up and the time after the end left out."""
    settings, group = t.settings[0], s.groups[g]
    now = min(max(s.clock[0].now, settings.warm_up_s), settings.length_s)
    passed = now - group.last_s
    if passed > 0.0:
        group.busy_s += group.busy * passed
        group.staffed_s += max(group.staff, group.busy) * passed
        group.last_s = now


@compiled
def _leave_queue(t, s, m, i, answered):
    """A visit to a queue is over; returns its wait."""
    slot = s.slots[i]
    wait_s = s.clock[0].now - slot.joined_s
    if slot.on_line:
        slot.waited_s += wait_s
    if not slot.counts:
        return wait_s
    queue, interval = m.queues[slot.queue], m.intervals[slot.interval, slot.queue]
    if slot.on_line:
        queue.wait_s += wait_s
        interval.wait_s += wait_s
        queue.waited += wait_s > 0.0
        m.queue_wait[slot.queue, _bin(wait_s)] += 1
    if answered:
        within = wait_s <= t.settings[0].within_s
        queue.answered += 1
        interval.answered += 1
        queue.answered_within += within
        interval.answered_within += within
    return wait_s


@compiled
def _wait_is_over(m, i, s):
    """The wait of the whole call into the measures of its need."""
    slot = s.slots[i]
    calls = m.calls[slot.need]
    calls.wait_s += slot.waited_s
    calls.waited += slot.waited_s > 0.0
    m.wait[slot.need, _bin(slot.waited_s)] += 1


@compiled
def _log_call(s, m, i, outcome, to_agent_s):
    clock, slot = s.clock[0], s.slots[i]
    if slot.counts and clock.calls_logged < len(m.call_log):
        row = m.call_log[clock.calls_logged]
        row.caller, row.attempt, row.need = slot.caller, slot.attempt, slot.need
        row.queue, row.group, row.outcome = slot.first_queue, slot.group, outcome
        row.transfers, row.on_line = slot.leg, slot.on_line
        row.arrival_s, row.wait_s, row.to_agent_s = slot.arrival_s, slot.waited_s, to_agent_s
        row.service_s, row.patience_s = slot.service_s, slot.patience_s
    clock.calls_logged += slot.counts


@compiled
def _log_work(s, m, i, end_s):
    clock, slot = s.clock[0], s.slots[i]
    if clock.work_logged < len(m.work_log):
        row = m.work_log[clock.work_logged]
        row.caller, row.attempt, row.group = slot.caller, slot.attempt, slot.group
        row.start_s, row.end_s = clock.now, end_s
    clock.work_logged += 1


# -- agents -----------------------------------------------------------------------------------


@compiled
def _is_open(t, q, now):
    queue = t.queues[q]
    if queue.always:
        return True
    at_s = now % t.settings[0].period_s
    for h in range(queue.hours, queue.hours + queue.hours_count):
        if t.hours[h, 0] <= at_s < t.hours[h, 1]:
            return True
    return False


@compiled
def _idle_group(t, s, q, after_s):
    """The group to take a call of queue q that has just waited ``after_s``; -1: none is idle."""
    best, best_level, best_busy = -1, 0, 0.0
    queue = t.queues[q]
    for k in range(queue.takers, queue.takers + queue.takers_count):
        g = t.takers[k]
        skill, group = t.skills[g, q], s.groups[g]
        if skill.after_s > after_s or (best >= 0 and skill.level > best_level):
            continue
        if skill.after_s < after_s or group.busy >= group.staff:
            continue
        busy = group.busy / group.staff
        if best < 0 or skill.level < best_level or busy < best_busy:
            best, best_level, best_busy = g, skill.level, busy
    return best


@compiled
def _next_call(t, s, g):
    """The waiting call that an agent of group g takes now; -1: none."""
    best, best_priority, best_since = -1, 0, 0.0
    if s.clock[0].waiting == 0:
        return best
    group, now = t.groups[g], s.clock[0].now
    for k in range(group.lines, group.lines + group.lines_count):
        line = t.group_lines[k]
        head = s.lines[line].head
        if head < 0:
            continue
        priority = t.lines[line].priority
        if best >= 0 and priority > best_priority:
            break  # the lines come by priority
        slot = s.slots[head]
        if now - slot.joined_s < t.skills[g, t.lines[line].queue].after_s:
            continue
        if best < 0 or slot.since_s < best_since:
            best, best_priority, best_since = head, priority, slot.since_s
    return best


@compiled
def _serve_waiting(t, s, m, keys, g):
    """Idle agents of group g take what waits for them."""
    group = s.groups[g]
    while group.busy < group.staff:
        i = _next_call(t, s, g)
        if i < 0:
            return
        _step_out(s, i)
        _answer(t, s, m, keys, i, g)


@compiled
def _release(t, s, m, keys, i):
    """The agent of call i is free again, or goes home."""
    g = s.slots[i].group
    _clock_in(t, s, g)
    s.groups[g].busy -= 1


@compiled
def _answer(t, s, m, keys, i, g):
    """An agent of group g takes call i, which stands in no line any more."""
    slot, group, now = s.slots[i], s.groups[g], s.clock[0].now
    _clock_in(t, s, g)
    group.busy += 1
    slot.group = g
    number = _by_call(slot, slot.leg)
    if slot.state == _HOLDING and draw(keys, _REACHED, number) >= t.settings[0].reached:
        _not_reached(t, s, m, keys, i)
        return
    _leave_queue(t, s, m, i, True)
    if slot.counts:
        m.queues[slot.queue].overflowed += t.skills[g, slot.queue].after_s > 0.0
    if t.skills[g, slot.right].can or not _is_open(t, slot.right, now):
        _serve(t, s, m, keys, i)
    else:
        _pass_on(t, s, m, keys, i)


@compiled
def _not_reached(t, s, m, keys, i):
    slot = s.slots[i]
    _leave_queue(t, s, m, i, False)
    lost_s = _quantile(t, t.settings[0].no_answer, draw(keys, _NO_ANSWER, _by_call(slot, slot.leg)))
    if slot.counts:
        m.queues[slot.queue].not_reached += 1
        m.calls[slot.need].not_reached += 1
        m.calls[slot.need].agent_s += lost_s
    _log_call(s, m, i, _NOT_REACHED, np.nan)
    _log_work(s, m, i, s.clock[0].now + lost_s)
    slot.state = _TALKING
    _plan(s, i, s.clock[0].now + lost_s)


@compiled
def _serve(t, s, m, keys, i):
    """The right agent answers."""
    slot, now, g = s.slots[i], s.clock[0].now, s.slots[i].group
    skill = t.skills[g, slot.right if t.skills[g, slot.right].can else slot.queue]
    wrap_s = _quantile(t, t.needs[slot.need].wrap_up, draw(keys, _WRAP_UP, slot.caller))
    busy_s = slot.service_s * skill.factor + wrap_s
    to_agent_s = now - slot.arrival_s
    if slot.counts:
        calls = m.calls[slot.need]
        calls.answered += 1
        calls.answered_within += (
            slot.waited_s if slot.on_line else now - slot.joined_s
        ) <= t.settings[0].within_s
        calls.to_agent_s += to_agent_s
        calls.agent_s += busy_s
        m.to_agent[slot.need, _bin(to_agent_s)] += 1
        if slot.on_line:
            _wait_is_over(m, i, s)
            calls.answered_on_line += 1
            calls.wait_answered_s += slot.waited_s
        s.groups[g].answered += 1
    _log_call(s, m, i, _ANSWERED, to_agent_s)
    _log_work(s, m, i, now + busy_s)
    slot.state = _TALKING
    _plan(s, i, now + busy_s)


@compiled
def _pass_on(t, s, m, keys, i):
    """A wrong agent answers, and finds out where the caller belongs."""
    slot, now = s.slots[i], s.clock[0].now
    busy_s = _quantile(t, t.settings[0].transfer, draw(keys, _TRANSFER, _by_call(slot, 0)))
    if slot.counts:
        m.calls[slot.need].transfers += 1
        m.calls[slot.need].agent_s += busy_s
        m.queues[slot.queue].transferred += 1
        s.groups[slot.group].passed_on += 1
    _log_work(s, m, i, now + busy_s)
    slot.state = _PASSING_ON
    slot.on_line = 1
    _plan(s, i, now + busy_s)


# -- queues -----------------------------------------------------------------------------------


@compiled
def _join(t, s, m, keys, i, q, way):
    """Call i joins queue q, and is answered or waits; returns the group that takes it, or -1."""
    slot, settings, now = s.slots[i], t.settings[0], s.clock[0].now
    slot.queue, slot.joined_s, slot.state = q, now, _WAITING
    slot.interval = min(
        len(m.intervals) - 1, np.int64((now % settings.period_s) / settings.interval_s)
    )
    if way == _JOINED:
        slot.first_s = now
    slot.since_s = slot.first_s if way == _REJOINED and settings.keeps_place else now
    if slot.counts:
        m.queues[q].joined += 1
        m.intervals[slot.interval, q].joined += 1
    g = _idle_group(t, s, q, 0.0)
    if g < 0:
        _wait(t, s, m, keys, i, way)
    return g


@compiled
def _wait(t, s, m, keys, i, way):
    slot, settings, now = s.slots[i], t.settings[0], s.clock[0].now
    if way == _JOINED and settings.call_back and _accepts_call_back(t, s, keys, i):
        slot.state, slot.on_line = _HOLDING, 0
        if slot.counts:
            m.calls[slot.need].call_backs += 1
            m.queues[slot.queue].call_backs += 1
        _line_up(s, i, t.line_of[slot.need, slot.queue, _CALLED_BACK])
        _plan(s, i, np.inf)
        return
    left_s = slot.patience_s
    if way == _REJOINED:
        if settings.fresh_patience:
            patience = t.needs[slot.need].patience
            left_s = _quantile(t, patience, draw(keys, _PATIENCE, _by_call(slot, 1)))
        else:
            left_s = max(0.0, left_s - slot.waited_s)
    slot.deadline_s = now + left_s
    slot.overflow = 0
    _line_up(s, i, t.line_of[slot.need, slot.queue, way])
    _plan_waiting(t, s, i)


@compiled
def _accepts_call_back(t, s, keys, i):
    slot, now = s.slots[i], s.clock[0].now
    queue, longest_s = t.queues[slot.queue], 0.0
    for k in range(queue.lines, queue.lines + queue.lines_count):
        head = s.lines[t.queue_lines[k]].head
        if head >= 0:
            longest_s = max(longest_s, now - s.slots[head].joined_s)
    if longest_s < t.settings[0].offer_wait_s:
        return False
    return draw(keys, _CALL_BACK, _by_call(slot, 0)) < t.settings[0].acceptance


@compiled
def _plan_waiting(t, s, i):
    """The end of the patience, or the delay after which more groups may take the call."""
    slot = s.slots[i]
    queue, when_s = t.queues[slot.queue], slot.deadline_s
    while slot.overflow < queue.takers_count:
        after_s = t.skills[t.takers[queue.takers + slot.overflow], slot.queue].after_s
        if after_s > 0.0 and slot.joined_s + after_s > s.clock[0].now:
            when_s = min(when_s, slot.joined_s + after_s)
            break
        slot.overflow += 1
    _plan(s, i, when_s)


@compiled
def _waited(t, s, m, keys, i):
    """The patience of a waiting call ends, or its overflow is due."""
    slot, now = s.slots[i], s.clock[0].now
    if now >= slot.deadline_s:
        _abandon(t, s, m, keys, i)
        return
    after_s = t.skills[t.takers[t.queues[slot.queue].takers + slot.overflow], slot.queue].after_s
    g = _idle_group(t, s, slot.queue, after_s)
    if g >= 0:
        _step_out(s, i)
        _answer(t, s, m, keys, i, g)
        return
    slot.overflow += 1
    _plan_waiting(t, s, i)


@compiled
def _abandon(t, s, m, keys, i):
    slot, settings = s.slots[i], t.settings[0]
    _step_out(s, i)
    _leave_queue(t, s, m, i, False)
    if slot.counts:
        m.queues[slot.queue].abandoned += 1
        m.intervals[slot.interval, slot.queue].abandoned += 1
        calls = m.calls[slot.need]
        calls.abandoned += 1
        calls.wait_abandoned_s += slot.waited_s
        _wait_is_over(m, i, s)
    _log_call(s, m, i, _ABANDONED, np.nan)
    number = _by_call(slot, 0)
    if (
        slot.attempt >= settings.redial_most
        or draw(keys, _REDIAL, number) >= settings.redial_probability
    ):
        _free(s, i)
        return
    slot.state = _AWAY
    delay_s = _quantile(t, settings.redial_delay, draw(keys, _REDIAL_DELAY, number))
    _plan(s, i, s.clock[0].now + delay_s)


# -- front end --------------------------------------------------------------------------------


@compiled
def _dial(t, s, m, keys, i):
    """Call i reaches the front end; its fate there is drawn. Returns the seconds it takes."""
    slot, settings = s.slots[i], t.settings[0]
    need, number = t.needs[slot.need], _by_call(slot, 0)
    slot.state, slot.leg, slot.waited_s, slot.on_line = _FRONT_END, 0, 0.0, 1
    slot.arrival_s, slot.group, slot.queue, slot.first_queue = s.clock[0].now, -1, -1, -1
    slot.right = need.queue
    if slot.attempt > 0:
        u = draw(keys, _PATIENCE, _by_call(slot, 0))
        slot.patience_s = _quantile(t, need.patience, u)
    seconds = _quantile(t, settings.front_end, draw(keys, _MENU, number))
    again = draw(keys, _ASKED, number) < need.asked_again
    if again:
        seconds += _quantile(t, settings.again, draw(keys, _AGAIN_S, number))
    slot.fate = _TO_QUEUE
    if draw(keys, _GIVE_UP, number) < need.hung_up:
        slot.fate = _TO_NOBODY
    elif draw(keys, _CONTAIN, number) < need.contained:
        slot.fate = _TO_MACHINE
        seconds += _quantile(t, settings.contained, draw(keys, _CONTAIN_S, number))
    if slot.counts:
        calls = m.calls[slot.need]
        calls.offered += 1
        calls.redials += slot.attempt > 0
        calls.asked_again += again
        calls.front_end_s += seconds
    return seconds


@compiled
def _leave_front_end(t, s, m, keys, i):
    """To a queue, or the call is over; returns the group that answers at once, or -1."""
    slot, now = s.slots[i], s.clock[0].now
    if slot.fate != _TO_QUEUE:
        machine = slot.fate == _TO_MACHINE
        if slot.counts:
            m.calls[slot.need].contained += machine
            m.calls[slot.need].hung_up += not machine
        _log_call(s, m, i, _CONTAINED if machine else _HUNG_UP, np.nan)
        _free(s, i)
        return -1
    k, u = 0, draw(keys, _ROUTE, _by_call(slot, 0))
    while u >= t.routes_p[slot.need, k]:
        k += 1
    q = t.routes_to[slot.need, k]
    if not _is_open(t, q, now):
        other = t.queues[q].closed_to
        if other < 0 or not _is_open(t, other, now):
            if slot.counts:
                m.calls[slot.need].closed += 1
                m.queues[q].closed += 1
            _log_call(s, m, i, _CLOSED, np.nan)
            _free(s, i)
            return -1
        if q == slot.right:
            slot.right = other
        q = other
    if slot.counts:
        m.calls[slot.need].joined += 1
        m.calls[slot.need].misrouted += q != slot.right
    slot.first_queue = q
    return _join(t, s, m, keys, i, q, _JOINED)


# -- arrivals and staff -----------------------------------------------------------------------


@compiled
def _busyness(t, keys, period):
    sd = t.settings[0].busyness_sd
    if sd == 0.0:
        return 1.0
    return np.exp(sd * normal_quantile(draw(keys, _BUSYNESS, period)) - sd * sd / 2.0)


@compiled
def _plan_arrival(t, s, keys):
    """When the next caller arrives (a Poisson process, its time stretched), and with which need."""
    clock, settings = s.clock[0], t.settings[0]
    if settings.trace:
        given = clock.caller < len(t.trace)
        clock.next_s = t.trace[clock.caller].arrival_s if given else np.inf
        if given:
            clock.next_need = t.trace[clock.caller].need
    else:
        left = -np.log(draw(keys, _ARRIVAL, clock.caller))
        at_s = clock.next_s
        while at_s < settings.length_s:
            rate = t.rates[clock.interval] * clock.busyness
            if rate * (clock.interval_end_s - at_s) > left:
                at_s += left / rate
                break
            left -= rate * (clock.interval_end_s - at_s)
            at_s = clock.interval_end_s
            _next_interval(t, s, keys)
        clock.next_s = at_s
        n, u = 0, draw(keys, _NEED, clock.caller)
        while u >= t.shares[clock.interval, n] and n < len(t.needs) - 1:
            n += 1
        clock.next_need = n
    if clock.next_s >= settings.length_s:
        clock.next_s = np.inf


@compiled
def _next_interval(t, s, keys):
    clock, settings = s.clock[0], t.settings[0]
    clock.interval += 1
    if clock.interval == len(t.rates):
        clock.interval = 0
        clock.period += 1
        clock.period_start_s = clock.period * settings.period_s
        clock.busyness = _busyness(t, keys, clock.period)
    end_s = min(settings.period_s, (clock.interval + 1) * settings.interval_s)
    clock.interval_end_s = clock.period_start_s + end_s


@compiled
def _arrive(t, s, keys):
    """A new caller, with all that is fixed for them; returns the slot of the call."""
    clock = s.clock[0]
    i = clock.free
    slot = s.slots[i]
    clock.free = slot.next
    need = t.needs[clock.next_need]
    slot.caller, slot.attempt, slot.need = clock.caller, 0, clock.next_need
    slot.counts = clock.now >= t.settings[0].warm_up_s
    slot.service_s = _quantile(t, need.service, draw(keys, _SERVICE, clock.caller))
    slot.patience_s = _quantile(t, need.patience, draw(keys, _PATIENCE, _by_call(slot, 0)))
    if t.settings[0].trace:
        given = t.trace[clock.caller]
        if not np.isnan(given.service_s):
            slot.service_s = given.service_s
        if not np.isnan(given.patience_s):
            slot.patience_s = given.patience_s
    _add_caller(clock, slot)
    clock.caller += 1
    return i


@compiled
def _add_caller(clock, slot):
    """What is fixed for the caller, to the microsecond, into the sum over all callers."""
    h = mix(np.uint64(slot.caller) ^ np.uint64(slot.need) << np.uint64(48))
    h = mix(h ^ np.uint64(clock.now * 1e6))
    h = mix(h ^ np.uint64(slot.service_s * 1e6))
    if slot.patience_s < 1e12:
        h = mix(h ^ np.uint64(slot.patience_s * 1e6))
    clock.callers += h


@compiled
def _step_s(t, s):
    """When the staff changes next."""
    return s.clock[0].step_start_s + t.steps[s.clock[0].step].at_s


@compiled
def _change_staff(t, s):
    """The next change of the staff; returns its group."""
    clock = s.clock[0]
    step = t.steps[clock.step]
    _clock_in(t, s, step.group)
    s.groups[step.group].staff = step.agents
    clock.step += 1
    if clock.step == len(t.steps):
        clock.step = 0
        clock.step_start_s += t.settings[0].period_s
    return step.group


# -- the loop ---------------------------------------------------------------------------------


@compiled
def _start(t, s, keys):
    clock, settings = s.clock[0], t.settings[0]
    clock.started = 1
    clock.interval_end_s = min(settings.period_s, settings.interval_s)
    clock.busyness = _busyness(t, keys, 0)
    for g in range(len(s.groups)):
        s.groups[g].last_s = settings.warm_up_s
    _plan_arrival(t, s, keys)


@compiled
def _happen(t, s, m, keys, i):
    """The next event of call i; returns a group that may have become free, or -1."""
    slot = s.slots[i]
    if slot.state == _WAITING:
        _waited(t, s, m, keys, i)
        return -1
    if slot.state == _TALKING:
        _release(t, s, m, keys, i)
        _free(s, i)
        return slot.group
    if slot.state == _PASSING_ON:
        _release(t, s, m, keys, i)
        free = slot.group
        slot.leg = 1
        g = _join(t, s, m, keys, i, slot.right, _REJOINED)
        if g >= 0:
            _answer(t, s, m, keys, i, g)
        return free
    if slot.state == _AWAY:
        if s.clock[0].now >= t.settings[0].length_s:
            _free(s, i)
            return -1
        slot.attempt += 1
        _plan(s, i, s.clock[0].now + _dial(t, s, m, keys, i))
        return -1
    g = _leave_front_end(t, s, m, keys, i)
    if g >= 0:
        _answer(t, s, m, keys, i, g)
    return -1


@entry
def advance(t, s, m, keys, until_s):
    """Run to ``until_s``. True where it got there; False where more slots are needed first."""
    clock = s.clock[0]
    if not clock.started:
        _start(t, s, keys)
    while True:
        event_s = s.heap[0].when_s if clock.heap > 0 else np.inf
        staff_s = _step_s(t, s)
        now = min(event_s, staff_s, clock.next_s)
        if now >= until_s:
            return True
        if staff_s == now:
            clock.now = now
            _serve_waiting(t, s, m, keys, _change_staff(t, s))
        elif event_s == now:
            clock.now = now
            free = _happen(t, s, m, keys, s.heap[0].slot)
            if free >= 0:
                _serve_waiting(t, s, m, keys, free)
        else:
            if clock.free < 0:
                return False
            clock.now = now
            i = _arrive(t, s, keys)
            _plan(s, i, now + _dial(t, s, m, keys, i))
            _plan_arrival(t, s, keys)


@entry
def close(t, s, m):
    """The run is over: hours up to the end, and calls that still wait as unserved."""
    clock = s.clock[0]
    for g in range(len(s.groups)):
        _clock_in(t, s, g)
    for i in range(len(s.slots)):
        slot = s.slots[i]
        if not slot.counts:
            continue
        if slot.state == _FRONT_END:
            m.calls[slot.need].hung_up += 1
            _log_call(s, m, i, _HUNG_UP, np.nan)
        elif slot.state == _WAITING or slot.state == _HOLDING or slot.state == _PASSING_ON:
            if slot.state != _PASSING_ON:
                _leave_queue(t, s, m, i, False)
                m.queues[slot.queue].unserved += 1
            m.calls[slot.need].unserved += 1
            if slot.on_line:
                _wait_is_over(m, i, s)
            _log_call(s, m, i, _UNSERVED, np.nan)
    return clock.now
