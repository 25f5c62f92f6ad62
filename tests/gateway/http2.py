"""A client that says anything in HTTP/2 over TLS, also what no honest client would. Used by tests only."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset

from e2e.cluster.certs import Authority
from tests.gateway.envoy import SECONDS

Headers = Sequence[tuple[bytes, bytes]]
AS_TOLD = H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
"""Nothing is mended or refused on the way out."""


@dataclass(kw_only=True)
class Answer:
    """What came back for one request."""

    status: int = 0
    """0: none."""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    refusal: str = ""
    """How the server ended it where it did not answer to the end; empty where it did."""
    ended: bool = False


class Http2:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._state = H2Connection(config=AS_TOLD)
        self._state.initiate_connection()

    async def ask(self, headers: Headers, body: bytes = b"", *, trailers: Headers = ()) -> Answer:
        """Send one request whole, or until it is answered; it ends with the trailers where there are any."""
        stream, answer, rest = self._state.get_next_available_stream_id(), Answer(), memoryview(body)
        self._state.send_headers(stream, list(headers), end_stream=not body and not trailers)
        asked = not body and not trailers
        async with asyncio.timeout(SECONDS):
            while not answer.ended:
                while rest and (room := self._room(stream)):
                    self._state.send_data(stream, bytes(rest[:room]), end_stream=len(rest) <= room and not trailers)
                    rest = rest[room:]
                if trailers and not rest and not asked:
                    self._state.send_headers(stream, list(trailers), end_stream=True)
                asked = asked or not rest
                await self._send()
                await self._take(answer, stream)
        return answer

    def _room(self, stream: int) -> int:
        return min(self._state.local_flow_control_window(stream), self._state.max_outbound_frame_size)

    async def _send(self) -> None:
        with contextlib.suppress(OSError):  # the answer says why it is closed
            self._writer.write(self._state.data_to_send())
            await self._writer.drain()

    async def _take(self, answer: Answer, stream: int) -> None:
        """Read what comes next into the answer."""
        try:
            data = await self._reader.read(65536)
        except OSError as error:
            answer.refusal, data = answer.refusal or type(error).__name__, b""
        if not data:
            answer.refusal, answer.ended = answer.refusal or "closed", True
            return
        for event in self._state.receive_data(data):
            if isinstance(event, ConnectionTerminated):
                answer.refusal, answer.ended = f"goaway {event.error_code}", True
            elif getattr(event, "stream_id", None) == stream:
                _note(answer, event)
            if isinstance(event, DataReceived):
                self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        await self._send()


def _note(answer: Answer, event: Event) -> None:
    if isinstance(event, ResponseReceived):
        answer.headers = {name.decode(): value.decode() for name, value in event.headers}
        answer.status = int(answer.headers[":status"])
    elif isinstance(event, DataReceived):
        answer.body += event.data
    elif isinstance(event, StreamEnded):
        answer.ended = True
    elif isinstance(event, StreamReset):
        answer.refusal, answer.ended = f"reset {event.error_code}", True


@contextlib.asynccontextmanager
async def connected(address: str, authority: Authority) -> AsyncIterator[Http2]:
    """Connect, and agree on HTTP/2 as browsers do."""
    host, _, port = address.rpartition(":")
    trusted = ssl.create_default_context(cafile=str(authority.cert))
    trusted.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(host, int(port), ssl=trusted)
    try:
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        yield Http2(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
