"""One pass over one LLMDeployment: gather a Snapshot, decide, execute. And the workers that do so.

Only this module catches broadly: a pass that fails is logged, counted and repeated later, and no other waits for it.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from modelfleet.adapters.errors import ApiProblem, Conflict, Gone, NotLeader, Transient
from modelfleet.adapters.kube import Kube
from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core.decide import decide
from modelfleet.core.plan import Plan
from modelfleet.core.routing.confirmation import weights_of
from modelfleet.core.routing.provider import provider
from modelfleet.core.routing.router import changed
from modelfleet.core.scaling.signals import FleetSignals
from modelfleet.core.scaling.target import Recommendation
from modelfleet.core.world import OwnedObject, RenderSettings, RouteObstacle, Snapshot
from modelfleet.shell import telemetry
from modelfleet.shell.analyses import Analyses
from modelfleet.shell.cache import Cache
from modelfleet.shell.capacity import Capacity, Supply
from modelfleet.shell.devices import asked_for
from modelfleet.shell.envoys import Envoys
from modelfleet.shell.evaluations import Evaluations
from modelfleet.shell.execute import EvaluationRefused, Executor, RouteRefused, TemplateRefused
from modelfleet.shell.queue import Key, WorkQueue
from modelfleet.shell.reading import parse
from modelfleet.shell.refused import ObjectRefused, Refusals
from modelfleet.shell.rewritten import Rewritten
from modelfleet.shell.routes import Routes
from modelfleet.shell.taken import NameTaken, Taken

log = structlog.get_logger(__name__)


class Controller:
    """Everything that passes share: cache, queue, the latest signals, and what cannot be derived twice."""

    def __init__(
        self,
        *,
        kube: Kube,
        cache: Cache,
        queue: WorkQueue,
        render: RenderSettings,
        read_nodes: bool,
        routes: Routes,
        envoys: Envoys | None = None,
        analyses: Analyses | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kube, self._cache, self._queue = kube, cache, queue
        self._executor = Executor(kube=kube, cache=cache)
        self._capacity = Capacity(kube=kube, cache=cache, render=render, read_nodes=read_nodes, clock=clock)
        self._evaluations = Evaluations(kube=kube, cache=cache)
        self._rewritten = Rewritten(kube=kube, cache=cache)
        self._render, self._read_nodes, self._clock = render, read_nodes, clock
        self._since = clock()
        self._watched: dict[Key, float] = {}
        self._history: dict[Key, tuple[Recommendation, ...]] = {}
        self._rejected: dict[Key, dict[str, str]] = {}
        self._taken, self._refusals = Taken(clock=clock), Refusals(clock=clock)
        self.envoys, self._routes, self._analyses = envoys or Envoys(), routes, analyses
        self.signals: FleetSignals | None = None

    async def work(self) -> None:
        """Take keys and pass over them, for ever."""
        while True:
            key = await self._queue.get()
            with telemetry.PASS_SECONDS.time(), structlog.contextvars.bound_contextvars(llmdeployment="/".join(key)):
                await self._guarded(key)

    async def _guarded(self, key: Key) -> None:
        try:
            again = await self.reconcile(key)
        except NotLeader:
            self._queue.failed(key)
            raise
        except (Conflict, Gone) as error:
            telemetry.PASS_ERRORS.labels(type(error).__name__).inc()
            pause = self._queue.failed(key, until_news=True)
            log.debug("pass.stale", error=str(error), retry_seconds=round(pause, 2))
        except ApiProblem as error:
            telemetry.PASS_ERRORS.labels(type(error).__name__).inc()
            pause = self._queue.failed(key, after=error.retry_after if isinstance(error, Transient) else None)
            log.warning("pass.failed", error=str(error), retry_seconds=round(pause, 2))
        except Exception:
            telemetry.PASS_ERRORS.labels("Unexpected").inc()
            pause = self._queue.failed(key)
            log.exception("pass.unexpected", retry_seconds=round(pause, 2))
        else:
            self._queue.done(key)
            if again is not None:
                self._queue.add(key, after=again)

    async def reconcile(self, key: Key) -> float | None:
        """Do one pass; returns in how many seconds time alone may change the answer.

        Raises:
            ApiProblem: the plan was dropped in the middle.
        """
        if key not in self._cache.fleet:
            for known in (self._history, self._rejected, self._watched):
                known.pop(key, None)
            self._queue.forget(key)
            self._cache.waiting.discard(key)
            self._routes.forget(key)
            self._taken.forget(key)
            self._refusals.forget(key)
            self._evaluations.forget(key)
            self._rewritten.forget(key)
            telemetry.forget(key)
            return None
        body = self._cache.fleet[key]
        if "deletionTimestamp" in body["metadata"]:
            return None
        spec, problem = parse(body.get("spec") or {})
        if self._routed(spec) and self.envoys.must_ask(
            self._cache.records(key, kind="Pod", uid=body["metadata"]["uid"]),
            uid=body["metadata"]["uid"],
            weights=weights_of(body.get("status") or {}),
        ):
            await self.envoys.ask()
        others = await self._capacity.ask(key, body=body, spec=spec)
        route = await self._routes.find(key, body=body, spec=spec)
        evaluation = await self._evaluations.find(key, body=body, spec=spec)
        again = None if spec is None else await self._rewritten.ask(key, uid=body["metadata"]["uid"])
        if self._cache.fleet.get(key) is not body:
            return 0.0  # changed meanwhile
        # From here to the promise nothing is awaited: two rollouts never see the same free device.
        supply = self._capacity.look(key, body=body, spec=spec, others=others)
        snapshot = self._gather(key, body, spec=spec, problem=problem, supply=supply, route=route)
        due = await self._execute(key, replace(snapshot, evaluation=evaluation))
        return min((seconds for seconds in (due, again) if seconds is not None), default=None)

    async def _execute(self, key: Key, snapshot: Snapshot) -> float | None:
        plan = self._taken.without(key, decide(snapshot))
        plan = self._refusals.without(key, plan, workloads=snapshot.workloads)
        self._history[key] = plan.history
        for reason in plan.reasons:
            telemetry.DECISIONS.labels(reason.kind, reason.reason).inc()
            log.info(
                "decision",
                kind=reason.kind,
                reason=reason.reason,
                message=reason.message,
                before=reason.before,
                after=reason.after,
                generation=snapshot.generation,
            )
        try:
            await self._carry_out(key, snapshot, plan)
        except TemplateRefused as refused:
            self._rejected[key] = {refused.revision: refused.message}
            return 0.0
        except RouteRefused as refused:
            self._routes.refused(key, generation=snapshot.generation, message=str(refused))
            return 0.0
        except EvaluationRefused as refused:
            self._evaluations.refused(key, message=str(refused))
            return 0.0
        except NameTaken as taken:
            telemetry.PASS_ERRORS.labels("NameTaken").inc()
            self._taken.put(key, taken)
            return 0.0
        except ObjectRefused as refused:
            telemetry.PASS_ERRORS.labels("ObjectRefused").inc()
            log.warning("object.refused", write=" ".join(refused.write), error=refused.message)
            self._refusals.put(key, refused)
            return 0.0
        telemetry.tell(key, plan.status)
        if plan.requeue_after is None:
            self._cache.waiting.discard(key)
        else:
            self._cache.waiting.add(key)
        return plan.requeue_after

    async def _carry_out(self, key: Key, snapshot: Snapshot, plan: Plan) -> None:
        asked = tuple(asked_for(plan.actions, workloads=snapshot.workloads))
        if not asked:
            await self._executor.run(key=key, snapshot=snapshot, plan=plan)
            return
        try:
            with self._cache.devices.promise(key, asked):
                await self._executor.run(key=key, snapshot=snapshot, plan=plan)
        finally:
            for other in self._cache.waiting - {key}:
                self._queue.add(other)  # what became free meanwhile was not shown to them

    def _gather(
        self,
        key: Key,
        body: dict[str, Any],
        *,
        spec: LLMDeploymentSpec | None,
        problem: str,
        supply: Supply,
        route: OwnedObject | RouteObstacle | None = None,
    ) -> Snapshot:
        meta, cache = body["metadata"], self._cache
        pods = tuple(cache.records(key, kind="Pod", uid=meta["uid"]))
        signals = self.signals.of(namespace=key[0], pods=[r.name for r in pods]) if self.signals else None
        in_flight = signals.values.get("InFlight", {}) if signals else {}
        kinds = ("Service", "PodDisruptionBudget", "NetworkPolicy", "HTTPRoute")
        objects = tuple(o for kind in kinds for o in cache.records(key, kind=kind, uid=meta["uid"]))
        unlabelled = (route,) if isinstance(route, OwnedObject) and route not in objects else ()
        return Snapshot(
            now=self._clock(),
            name=meta["name"],
            namespace=meta["namespace"],
            uid=meta["uid"],
            generation=meta.get("generation", 1),
            resource_version=meta["resourceVersion"],
            annotations=meta.get("annotations") or {},
            raw_spec=body.get("spec") or {},
            spec=spec,
            spec_error=problem,
            status=body.get("status") or {},
            stored=tuple(cache.records(key, kind="ControllerRevision", uid=meta["uid"])),
            workloads=tuple(
                self._rewritten.marked(key, one) for one in cache.records(key, kind="Deployment", uid=meta["uid"])
            ),
            replicas=tuple(replace(r, in_flight=in_flight.get(r.name)) for r in pods),
            objects=(*objects, *unlabelled),
            jobs=tuple(cache.records(key, kind="Job", uid=meta["uid"])),
            route_obstacle=route if isinstance(route, RouteObstacle) else None,
            free_gpus=None if supply.room is None else supply.room.replicas,
            largest_node=None if supply.room is None else supply.room.largest_node,
            quotas=supply.quotas,
            nodes_readable=self._read_nodes,
            rejected=self._rejected.get(key, {}),
            taken=self._taken.of(key),
            refused=self._refusals.of(key),
            name_conflict=cache.older_with_same_name(key),
            router=self.envoys.router(meta["uid"]) if self._routed(spec) else None,
            signals=signals,
            measured=self._analyses.of(key) if self._analyses else None,
            history=self._history.get(key, ()),
            observed_since=self._watched.setdefault(key, self._clock()),
            settings=self._render,
        )

    def _routed(self, spec: LLMDeploymentSpec | None) -> bool:
        return spec is not None and provider(spec, gateway_url=self._render.gateway_url) == "Gateway"

    async def refresh_routes(self) -> None:
        """Ask the gateway what it refused, and let those look whom the answer concerns.

        Raises:
            ApiProblem: the gateway's pods cannot be listed.
        """
        before = self.envoys.reports
        await self.envoys.ask()
        uids = {body["metadata"]["uid"]: key for key, body in self._cache.fleet.items()}
        if self.envoys.reports is not None:
            for uid in changed(before, self.envoys.reports, uids=uids):
                self._queue.add(uids[uid])

    @property
    def fleet_size(self) -> int:
        """Count the LLMDeployments."""
        return len(self._cache.fleet)

    def scaled(self) -> list[Key]:
        """Name the LLMDeployments that follow metrics."""
        return [key for key, body in self._cache.fleet.items() if (body.get("spec") or {}).get("scaling")]
