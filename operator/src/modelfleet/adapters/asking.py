"""How a Prometheus-compatible server is asked, through `prometheus-api-client` in four threads.

Shared by the adapters that know what to ask. The client is used for asking only; what it leaves open is closed here: a
timeout always, no retries inside a call, warnings (a partial answer of Thanos or a remote read) are errors, redirects
are not followed (the headers would travel along), the environment's proxies and netrc are not used. Headers and CA are
read from their mounted files for every query, so a rotated token needs no restart. Must never raise out of `ask()`, and
never put a header's value, a URL with credentials or a server's answer into a message.
"""

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

_THREADS: Final = 4
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
# What Prometheus' API may call an error; anything else in that field is not repeated.
_ERROR_TYPES: Final = frozenset(
    {"bad_data", "execution", "timeout", "canceled", "internal", "unavailable", "not_found"}
)
_OF_THE_QUERY: Final = frozenset({"bad_data", "execution"})
# A malformed answer surfaces as one of the last four, from inside the client or from the parsing below.
_FAILURES: Final = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    PrometheusApiClientException,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
Rows = Sequence[Mapping[str, Any]]
"""The series of an answer, as the API words them."""
T = TypeVar("T")


class Span(NamedTuple):
    """Whole seconds since the epoch: the first and the last moment of a range query, and the step between moments."""

    start: float
    end: float
    step: float


class UnusableAnswerError(Exception):
    """The answer, or what the question needs, cannot be used; the text says why and is safe to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrometheusOptions:
    """Where Prometheus is and how it wants to be asked.

    Attributes:
        url: base URL, `http(s)://host[:port][/prefix]`.
        timeout_seconds: for connecting and for every wait on the answer; the server gets it too.
        headers_dir: a mounted Secret whose files are headers (name = file name), e.g. Authorization, X-Scope-OrgID.
        ca_file: PEM bundle to verify the server with; None uses certifi's.
    """

    url: str
    timeout_seconds: float = 5.0
    headers_dir: Path | None = None
    ca_file: Path | None = None


class Server:
    """One Prometheus-compatible server (Prometheus, Thanos, Mimir, VictoriaMetrics)."""

    def __init__(self, *, options: PrometheusOptions) -> None:
        self._options = options
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="prometheus")

    def close(self) -> None:
        """Let the threads go; a query in flight ends at its own timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ask(self, query: str, *, read: Callable[[Rows], T], span: Span | None = None) -> T | str:
        """Answer what `read` makes of the series, or the error in words; without a span the query is for now.

        `read` may raise `UnusableAnswerError`.
        """
        place = _place(self._options.url)
        loop = asyncio.get_running_loop()
        limit = self._options.timeout_seconds * 2
        try:
            # requests' timeout is per wait, not in all: a server that drips would hold the tick for ever.
            return await asyncio.wait_for(loop.run_in_executor(self._threads, self._ask, query, read, span), limit)
        except TimeoutError:
            return f"{place} did not answer within {limit:g} s; raise prometheus.timeoutSeconds or check its load"
        except UnusableAnswerError as error:
            return f"{place} {error}"
        except _FAILURES as error:
            return f"{place} {_describe(error)}"

    def _ask(self, query: str, read: Callable[[Rows], T], span: Span | None) -> T:
        """Run one query (in a thread). A session of its own: requests' sessions are not thread-safe."""
        options = self._options
        with requests.Session() as session:
            session.trust_env = False
            session.max_redirects = 0
            session.verify = str(options.ca_file) if options.ca_file else True
            session.hooks["response"].append(partial(_inspect, wanted="matrix" if span else "vector"))
            client = PrometheusConnect(
                url=options.url.rstrip("/"),
                headers=_headers(options.headers_dir),
                session=session,
                # read=False: no retry either, but a timeout stays one instead of becoming "connection error".
                retry=Retry(0, read=False),
                timeout=options.timeout_seconds,
            )
            # partial_response=false asks Thanos to fail rather than to answer in part; others ignore it.
            params = {"timeout": f"{math.ceil(options.timeout_seconds)}s", "partial_response": "false"}
            if span is None:
                return read(client.custom_query(query, params=params))
            start, end = (datetime.fromtimestamp(moment, tz=UTC) for moment in (span.start, span.end))
            return read(client.custom_query_range(query, start, end, f"{span.step:g}", params=params))


def _place(url: str) -> str:
    """Name the server in messages, without any credentials of the URL.

    >>> _place("https://me:secret@prometheus:9090/prefix")
    'Prometheus at https://prometheus:9090/prefix'
    >>> _place("http://[::1")
    'Prometheus'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "Prometheus"
    return f"Prometheus at {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def _inspect(response: requests.Response, *, wanted: str, **_: object) -> None:
    """Look at the whole answer before the client, which would drop `warnings` and quote error bodies."""
    # Raised from a hook, nobody else closes the connection; the client later reads the body kept in memory.
    with response:
        _refuse_unusable(response, wanted=wanted)


def _refuse_unusable(response: requests.Response, *, wanted: str) -> None:
    status = response.status_code
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        raise UnusableAnswerError(f"refused the query (HTTP {status}); check the Secret of prometheus.headersSecret")
    if response.is_redirect:
        raise UnusableAnswerError(f"answered with a redirect (HTTP {status}); set prometheus.url to where it leads")
    if status != requests.codes.ok:
        kind = _error_type(response)
        if kind in _OF_THE_QUERY:
            raise UnusableAnswerError(f"refused the query (HTTP {status}, {kind}); check its PromQL")
        words = f" ({kind})" if kind else ""
        raise UnusableAnswerError(f"answered HTTP {status}{words}; check prometheus.url and its log")
    answer = response.json()
    if answer.get("warnings"):
        raise UnusableAnswerError("gave a partial answer (with warnings); check its stores and remote reads")
    if answer.get("status") != "success" or answer["data"].get("resultType") != wanted:
        raise UnusableAnswerError(f"gave no {wanted}; check that prometheus.url is a Prometheus API")


def _error_type(response: requests.Response) -> str:
    try:
        kind = response.json().get("errorType")
    except (ValueError, AttributeError):
        return ""
    return str(kind) if kind in _ERROR_TYPES else ""


def _headers(folder: Path | None) -> dict[str, str]:
    """Read the mounted headers; names starting with a dot are the kubelet's own."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise UnusableAnswerError(f"was not asked: {folder} is not mounted; check prometheus.headersSecret")
    headers = {}
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or not file.is_file():
            continue
        value = file.read_text(encoding="utf-8", errors="replace").strip()
        # requests would refuse these too, quoting the value.
        if not _HEADER_NAME.fullmatch(file.name) or not _HEADER_VALUE.fullmatch(value):
            raise UnusableAnswerError(
                f"was not asked: key {file.name} of prometheus.headersSecret is not a valid header"
            )
        headers[file.name] = value
    return headers


_ADVICE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (requests.exceptions.SSLError, "has a certificate that cannot be verified; check prometheus.caSecret"),
    (requests.exceptions.Timeout, "did not answer in time; raise prometheus.timeoutSeconds or check its load"),
    (requests.exceptions.JSONDecodeError, "did not answer with JSON; check prometheus.url"),
    (requests.exceptions.ConnectionError, "cannot be reached; check prometheus.url, its Service and NetworkPolicies"),
    (requests.exceptions.ChunkedEncodingError, "broke its answer off; check its log and any proxy before it"),
    (requests.RequestException, "could not be asked; prometheus.url must look like http://host:9090"),
    (OSError, "was not asked, a mounted file cannot be read; check prometheus.headersSecret and prometheus.caSecret"),
    (Exception, "gave an answer that is not the Prometheus API's; check prometheus.url"),
)


def _describe(error: Exception) -> str:
    """Say what went wrong without quoting it: such texts hold URLs and sometimes header values."""
    return next(advice for kind, advice in _ADVICE if isinstance(error, kind))
