"""A small LLM fleet under load, as counters per block: what the judgement is measured on.

Sessions arrive in a modulated Poisson stream, stick to a revision, and come back turn after turn. A replica batches
continuously: prompts wait for a prefill step, which takes as many as fit and halts the others' tokens meanwhile; between
such steps every running request gets a token per step, and a step grows with the batch. Step times are those fitted for
an H100 with an 8B model, times `slowness`. It knows nothing of the judgement.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

from modelfleet.core.judgement import ArmBlock, Block, Counts

STEP, PER_SEQUENCE, PER_PROMPT_TOKEN, OVERHEAD = 6.83e-3, 0.12e-3, 27e-6, 15.6e-3
BATCH_TOKENS, SEQUENCES = 8192, 256
FIRST_PROMPT, LATER_PROMPT, OUTPUT, SIGMA = 1155.0, 300.0, 211.0, 0.8
TURNS, THINK_SECONDS = 4.0, 30.0
STATES = ((0.75, 120.0), (1.5, 60.0))
"""Traffic changes between these: times the mean rate, mean seconds."""
FINEST = 1e-9


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with the canary: nothing by default."""

    slow: float = 1.0
    errors: float = 0.0
    empty: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A scenario.

    Attributes:
        rate: requests per second of the whole fleet, on average.
        stable: replicas.
        canary: replicas.
        weight: the canary's share of sessions.
        slowness: times the step times of the H100.
        ttft_within: bound on the first token, seconds.
        gap_within: bound on token gaps, seconds.
        fault: the canary's.
        errors: share of failing requests on both arms.
        errors_by_session: part of them that is bound to sessions of which every other turn fails.
        cold: prompts of a new canary replica take up to so many times longer,
        cold_seconds: falling off with this time constant.
        replica_sd: how much replicas differ in speed, all of them.
        interval: seconds of a block.
    """

    rate: float
    stable: int = 3
    canary: int = 1
    weight: float = 0.25
    slowness: float = 1.0
    ttft_within: float = 1.0
    gap_within: float = 0.05
    fault: Fault = field(default_factory=Fault)
    errors: float = 0.002
    errors_by_session: float = 0.5
    cold: float = 1.0
    cold_seconds: float = 60.0
    replica_sd: float = 0.0
    interval: float = 15.0


class Replica:
    """One engine; `advance` plays it up to a time, `take` what it counted since."""

    def __init__(self, *, fleet: Fleet, slow: float, born: float, cold: float) -> None:
        self._fleet, self._slow, self._born, self._cold = fleet, fleet.slowness * slow, born, cold
        self._now = born
        self._tokens = 0.0
        self._ends: list[tuple[float, bool]] = []
        self._waiting: deque[tuple[float, float, float, bool]] = deque()
        self._prefill: list[tuple[float, float, float, bool]] = []
        self._prefill_ends = math.inf
        self._prefill_seconds = 0.0
        self.shares = {"ttft": (0.0, 0.0), "interToken": (0.0, 0.0)}
        self._clear()

    @property
    def load(self) -> int:
        """Requests in it."""
        return len(self._ends) + len(self._waiting) + len(self._prefill)

    def add(self, *, at: float, prompt: float, output: float, empty: bool) -> None:
        """Gives it a request."""
        self.advance(at)
        self._waiting.append((at, prompt, output, empty))
        if self._prefill_ends == math.inf:
            self._start_prefill()

    def advance(self, until: float) -> None:
        """Plays on."""
        while self._now < until:
            if self._prefill_ends <= until:
                self._end_prefill()
                continue
            if self._prefill_ends < math.inf or not self._ends:
                self._now = until
                return
            running = len(self._ends)
            step = (STEP + PER_SEQUENCE * running) * self._slow
            seconds = min((self._ends[0][0] - self._tokens) * step, until - self._now)
            steps = seconds / step
            self._gaps(count=steps * running, length=step)
            self._tokens += steps
            self._now = self._now + seconds if seconds > 0 else self._now
            self._finish()

    def take(self) -> dict[str, Counts]:
        """Counts since the last call."""
        counts = {
            "ttft": Counts(bad=self._late, total=self._first),
            "interToken": Counts(bad=self._long, total=self._all_gaps, units=self._first),
            "badOutputs": Counts(bad=self._empty, total=self._done),
        }
        for name in self.shares:
            bad, total = self.shares[name]
            self.shares[name] = bad + counts[name].bad, total + counts[name].total
        self._clear()
        return counts

    def _clear(self) -> None:
        self._late = self._first = self._long = self._all_gaps = self._empty = self._done = 0.0

    def _gaps(self, *, count: float, length: float) -> None:
        self._all_gaps += count
        if length > self._fleet.gap_within:
            self._long += count

    def _start_prefill(self) -> None:
        tokens = 0.0
        while self._waiting and len(self._ends) + len(self._prefill) < SEQUENCES:
            if self._prefill and tokens + self._waiting[0][1] > BATCH_TOKENS:
                break
            one = self._waiting.popleft()
            tokens += one[1]
            self._prefill.append(one)
        if self._prefill:
            cold = 1 + (self._cold - 1) * math.exp(-(self._now - self._born) / self._fleet.cold_seconds)
            work = STEP + PER_SEQUENCE * len(self._ends) + PER_PROMPT_TOKEN * tokens * cold
            self._prefill_seconds = work * self._slow
            self._prefill_ends = self._now + self._prefill_seconds

    def _end_prefill(self) -> None:
        self._now = self._prefill_ends
        self._gaps(count=len(self._ends), length=self._prefill_seconds)
        self._tokens += 1
        for at, _, output, empty in self._prefill:
            self._first += 1
            if self._now - at + OVERHEAD * self._slow > self._fleet.ttft_within:
                self._late += 1
            heapq.heappush(self._ends, (self._tokens + (0 if empty else output), empty))
        self._prefill = []
        self._prefill_ends = math.inf
        self._finish()
        self._start_prefill()

    def _finish(self) -> None:
        ended = False
        while self._ends and self._ends[0][0] <= self._tokens + FINEST:
            self._done += 1
            self._empty += heapq.heappop(self._ends)[1]
            ended = True
        if ended and self._waiting and self._prefill_ends == math.inf:
            self._start_prefill()


@dataclass
class _Session:
    revision_at: float
    cursed_at: float
    turns: int
    context: float = 0.0
    cached_on: str = ""


class Simulation:
    """A fleet in time: `block()` gives one interval's counters after the other."""

    def __init__(self, *, fleet: Fleet, seed: int) -> None:
        self.fleet, self._random, self.now = fleet, random.Random(seed), 0.0  # noqa: S311 - a simulation, no secret
        self.weight = fleet.weight
        self.canary: list[Replica] = []
        self.stable = [self._replica(canary=False) for _ in range(fleet.stable)]
        self.scale_canary(fleet.canary)
        self._state, self._state_ends = 0, self._random.expovariate(1 / STATES[0][1])
        self._turns: list[tuple[float, int, _Session]] = []
        self._count = 0
        self._next_session = 0.0
        self._next_session = self._after(0.0)

    def scale_canary(self, replicas: int) -> None:
        """Adds cold canary replicas."""
        self.canary += [self._replica(canary=True) for _ in range(replicas - len(self.canary))]

    def scale_stable(self, replicas: int) -> None:
        """Drops stable replicas at once; what they still do is not counted."""
        del self.stable[replicas:]

    def settle(self, seconds: float) -> None:
        """Plays without the canary's traffic, so that stable is warm and busy when the window opens."""
        weight, self.weight = self.weight, 0.0
        end = self.now + seconds
        while self.now < end:
            self.block()
        self.weight = weight
        self.forget_shares()

    def forget_shares(self) -> None:
        """Begins to count the replicas' shares anew."""
        for replica in self.stable:
            replica.shares = dict.fromkeys(replica.shares, (0.0, 0.0))

    def block(self, *, warming: bool = False) -> Block:
        """Plays one interval."""
        end = self.now + self.fleet.interval
        started, failed = {"canary": 0, "stable": 0}, {"canary": 0, "stable": 0}
        while (at := min(self._next_session, self._turns[0][0] if self._turns else math.inf)) < end:
            if at == self._next_session:
                turns = 1 + int(self._random.expovariate(1.0) / -math.log(1 - 1 / TURNS))
                session = _Session(self._random.random(), self._random.random(), turns)
                self._next_session = self._after(at)
            else:
                session = heapq.heappop(self._turns)[2]
            arm = "canary" if session.revision_at < self.weight else "stable"
            started[arm] += 1
            failed[arm] += self._request(at=at, session=session, arm=arm)
        self.now = end
        arms = {}
        for name, replicas in (("canary", self.canary), ("stable", self.stable)):
            for replica in replicas:
                replica.advance(end)
            arms[name] = _arm(replicas=replicas, started=started[name], failed=failed[name])
        return Block(end=end, canary=arms["canary"], stable=arms["stable"], warming=warming)

    def shares(self) -> dict[str, tuple[tuple[float, float], ...]]:
        """Bad and all events of every stable replica so far."""
        return {name: tuple(r.shares[name] for r in self.stable) for name in ("ttft", "interToken")}

    def _replica(self, *, canary: bool) -> Replica:
        speed = max(0.5, self._random.gauss(1.0, self.fleet.replica_sd)) if self.fleet.replica_sd else 1.0
        slow = speed * (self.fleet.fault.slow if canary else 1.0)
        return Replica(fleet=self.fleet, slow=slow, born=self.now, cold=self.fleet.cold if canary else 1.0)

    def _after(self, at: float) -> float:
        """Draws the next session, through the changes of traffic."""
        mean = self.fleet.rate / TURNS
        need = self._random.expovariate(1.0)
        while True:
            rate = mean * STATES[self._state][0]
            if need <= (self._state_ends - at) * rate:
                return at + need / rate
            need -= (self._state_ends - at) * rate
            at = self._state_ends
            self._state = 1 - self._state
            self._state_ends = at + self._random.expovariate(1 / STATES[self._state][1])

    def _request(self, *, at: float, session: _Session, arm: str) -> bool:
        """Routes one request to the less loaded of two replicas; answers whether it failed."""
        draw = self._random
        first = session.context == 0
        prompt = min(_size(draw, FIRST_PROMPT if first else LATER_PROMPT), BATCH_TOKENS)
        output = 1 + _size(draw, OUTPUT)
        session.turns -= 1
        if session.turns > 0:
            self._count += 1
            heapq.heappush(self._turns, (at + draw.expovariate(1 / THINK_SECONDS), self._count, session))
        fault = self.fleet.fault
        ratio = self.fleet.errors + (fault.errors if arm == "canary" else 0.0)
        alone = ratio * (1 - self.fleet.errors_by_session)
        if draw.random() < alone or (
            session.cursed_at < 2 * ratio * self.fleet.errors_by_session and draw.random() < 1 / 2
        ):
            return True
        # A revision that the session comes to anew has none of its prefix in the cache.
        uncached = prompt + (session.context if session.cached_on != arm else 0.0)
        session.context, session.cached_on = session.context + prompt + output, arm
        replicas = self.canary if arm == "canary" else self.stable
        pair = draw.sample(replicas, 2) if len(replicas) > 1 else replicas
        for one in pair:
            one.advance(at)
        empty = arm == "canary" and draw.random() < fault.empty
        chosen = min(pair, key=lambda r: r.load)
        chosen.add(at=at, prompt=min(uncached, BATCH_TOKENS), output=output, empty=empty)
        return False


def _size(draw: random.Random, mean: float) -> float:
    return draw.lognormvariate(math.log(mean) - SIGMA * SIGMA / 2, SIGMA)


def _arm(*, replicas: list[Replica], started: int, failed: int) -> ArmBlock:
    taken = [replica.take() for replica in replicas]
    summed = {
        name: Counts(
            bad=sum(t[name].bad for t in taken),
            total=sum(t[name].total for t in taken),
            units=sum(t[name].requests for t in taken),
        )
        for name in ("ttft", "interToken", "badOutputs")
    }
    summed["errors"] = Counts(bad=failed, total=summed["badOutputs"].total + failed)
    return ArmBlock(started=started, replicas=len(replicas), counts=summed)
