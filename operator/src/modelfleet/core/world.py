"""What a decision may look at: one frozen Snapshot of an LLMDeployment and everything around it.

Built by the shell from its caches; read by `decide`. It must not hold clients, caches or anything mutable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core.judgement.window import Measurement
from modelfleet.core.quota import Left
from modelfleet.core.routing.router import Router
from modelfleet.core.scaling.signals import Signals
from modelfleet.core.scaling.target import Recommendation


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """What an installation adds to the user's words when a revision is first rendered."""

    engine_images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Default image by engine type, then by `gpu` or `cpu`."""
    rendering_version: str = "1"
    """Version of the renderer, written beside what it rendered; a newer one leaves older templates alone."""
    gateway_url: str = ""
    """Address of the installation's gateway; empty when it has none."""
    engine_peers: tuple[Mapping[str, Any], ...] = ()
    """Who reaches engine pods past the gateway's keys, as peers of a NetworkPolicy; empty: everybody, without a policy."""
    ack_timeout_seconds: float = 30.0
    """How long a replica that leaves waits for every Envoy's word that it is out of the routes."""


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One engine pod as the API shows it."""

    name: str
    uid: str
    resource_version: str
    revision: str
    ready: bool
    in_rotation: bool
    terminating: bool = False
    failed: bool = False
    scheduled: bool = True
    waiting_reason: str = ""
    """Why the pod waits or failed, in Kubernetes' word (`ImagePullBackOff`, `Unschedulable` …); empty if it does not."""
    message: str = ""
    stage: Literal["", "Preparing", "Pulling", "Loading"] = ""
    """What one that has a node waits for there: volumes and image, the image alone, the model; empty if not known."""
    got_on_at: float = 0.0
    """When it last came a stage further on its first way to ready: a node, its init containers, the image; 0 if never."""
    restarts: int = 0
    """How often the container that is down was started again; 0 while none is, also where only a probe is missed."""
    last_run: tuple[float, float] = (0.0, 0.0)
    """From when to when that container ran before it was started again last."""
    created_at: float = 0.0
    ready_since: float | None = None
    in_flight: float | None = None
    address: str = ""
    """Its IP; empty before it has one."""
    out_since: float = 0.0
    """When it was taken out of rotation; 0 while it is in."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One revision's Deployment as the API shows it."""

    name: str
    uid: str
    resource_version: str
    revision: str
    replicas: int
    template: Mapping[str, Any]
    foreign_managers: tuple[str, ...] = ()
    """Field managers other than ours that own something inside the template: someone edited it."""
    rewritten: bool = False
    """Whether the template differs from the stored one, and nobody is known to have edited it."""
    settled: bool = True
    """Whether the Deployment controller has seen the newest generation."""
    mislabelled: bool = False
    """Whether somebody took or changed a label by which it is known."""
    refused: str = ""
    """Why the API server takes no more pods of it, in its words, the same for every try; empty while it takes them."""


@dataclass(frozen=True, kw_only=True)
class StoredRevision:
    """One ControllerRevision: the template as it was first rendered."""

    name: str
    uid: str
    revision: str
    number: int
    template: Mapping[str, Any]
    rendering_version: str


@dataclass(frozen=True, kw_only=True)
class OwnedObject:
    """A Service, PodDisruptionBudget, NetworkPolicy or HTTPRoute: enough to see whether it still is what was rendered."""

    kind: str
    name: str
    resource_version: str
    uid: str
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One evaluation's Job as the API shows it."""

    name: str
    uid: str
    revision: str
    created_at: float = 0.0
    ended: Literal["", "Complete", "Failed"] = ""
    message: str = ""
    """Why it ended, in Kubernetes' words."""


@dataclass(frozen=True, kw_only=True)
class LastWords:
    """What a pod that ended left in its termination messages."""

    succeeded: bool
    ended_at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class EvaluationNews:
    """What only a question to the API tells of the evaluation that is awaited."""

    job: str
    """Name of the Job that it is about."""
    template: Mapping[str, Any] | None = None
    """The CronJob's jobTemplate, asked for while there is no Job."""
    said: tuple[LastWords, ...] | None = None
    """Of its pods, the last one last, asked for when the Job has ended."""
    problem: str = ""
    """Why there is no template, or no Job can be made of it."""


@dataclass(frozen=True, kw_only=True)
class RouteObstacle:
    """What keeps an LLMDeployment's HTTPRoute from being written."""

    reason: Literal["GatewayAPIMissing", "RouteNotOurs", "RouteRefused"]
    message: str
    """Who said so, in their words."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An object of ours that the API server refused to write lately."""

    action: str = ""
    """Kind of the write: a class of `core/plan.py`."""
    kind: str
    name: str
    message: str
    """The API server's words."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that a decision about one LLMDeployment depends on, `now` (seconds since the epoch) included."""

    now: float
    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    annotations: Mapping[str, str]
    raw_spec: Mapping[str, Any]
    spec: LLMDeploymentSpec | None
    spec_error: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)
    stored: tuple[StoredRevision, ...] = ()
    workloads: tuple[Workload, ...] = ()
    replicas: tuple[Replica, ...] = ()
    objects: tuple[OwnedObject, ...] = ()
    free_gpus: int | None = None
    """Accelerators that a pod of this LLMDeployment could take now; None when nodes cannot be read."""
    largest_node: int | None = None
    """Most accelerators that any one suitable node has at all, free or not."""
    quotas: tuple[Left, ...] = ()
    """What the namespace's ResourceQuotas leave of the accelerator, promises to others taken off."""
    nodes_readable: bool = True
    """Whether this installation may read nodes at all."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Revision → message of the API server, which refused the rendered Deployment in a dry run."""
    taken: tuple[str, ...] = ()
    """Objects of ours that could not be made, such as `Service chat`: somebody else's has the name."""
    refused: tuple[Refusal, ...] = ()
    """Objects of ours that the API server refused to write: by a quota, a policy, a missing right."""
    name_conflict: str = ""
    """`namespace/name` of the LLMDeployment that holds the same served name and is older."""
    router: Router | None = None
    """What the gateway's Envoys have taken in; None when none routes to this LLMDeployment, or it was not asked."""
    route_obstacle: RouteObstacle | None = None
    """What keeps the HTTPRoute of provider GatewayAPI from being written; None when nothing is known to."""
    signals: Signals | None = None
    """What Prometheus said last; None while this process has not asked it yet."""
    measured: Measurement | None = None
    """What Prometheus' last answer tells of the step that is judged; None while it has not been asked."""
    jobs: tuple[Job, ...] = ()
    """Evaluations that run, or ran."""
    evaluation: EvaluationNews | None = None
    """What was asked for the evaluation at which a rollout stands; None when nothing has to be."""
    history: tuple[Recommendation, ...] = ()
    observed_since: float = 0.0
    """Since when this process has recorded recommendations; no scale-down before one full window."""
    settings: RenderSettings = field(default_factory=RenderSettings)
