"""A device plugin that offers GPUs which do not exist, through the kubelet's real device plugin interface.

Runs as a process of the node (`python -m e2e.doubles.gpu_plugin`). It must register again whenever the kubelet's
socket is another file: a restarted kubelet has forgotten every plugin, and admits no GPU pod until then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from e2e.doubles.gpus import COUNT, RESOURCE, Bench
from e2e.doubles.interfaces import load

POLL_SECONDS = 0.2


class Plugin:
    """The DevicePlugin service; gRPC calls its methods by the names of the interface."""

    def __init__(self, *, bench: Bench) -> None:
        self._bench = bench
        self._messages, _ = load("deviceplugin")

    async def GetDevicePluginOptions(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the interface's name
        return self._messages.DevicePluginOptions()

    async def ListAndWatch(self, _request: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802 - as above
        """Sends the list at once and again whenever a device's health changes."""
        sent: frozenset[str] | None = None
        while True:
            broken = self._bench.unhealthy()
            if broken != sent:
                devices = [
                    self._messages.Device(ID=name, health="Unhealthy" if name in broken else "Healthy")
                    for name in self._bench.ids()
                ]
                yield self._messages.ListAndWatchResponse(devices=devices)
                sent = broken
            await asyncio.sleep(POLL_SECONDS)

    async def Allocate(self, request: Any, _context: Any) -> Any:  # noqa: N802 - as above
        """Tells each container which devices are its own, in the variable that NVIDIA's runtime reads."""
        answers = [
            self._messages.ContainerAllocateResponse(envs={"NVIDIA_VISIBLE_DEVICES": ",".join(one.devices_ids)})
            for one in request.container_requests
        ]
        return self._messages.AllocateResponse(container_responses=answers)


async def serve(*, bench: Bench, folder: Path) -> None:
    """Serve under the kubelet's plugin folder for ever, registering with every new kubelet.

    Args:
        bench: The devices.
        folder: `/var/lib/kubelet/device-plugins`; the place is fixed in the kubelet.
    """
    registered: tuple[int, int] | None = None
    server: Any = None
    while True:
        socket = _identity(folder / "kubelet.sock")
        if socket and socket != registered:
            # A starting kubelet also wipes the folder: the plugin's own socket must be made anew.
            if server is not None:
                await server.stop(grace=0)
            server = await _listen(bench=bench, folder=folder)
            with contextlib.suppress(grpc.aio.AioRpcError):
                await _register(folder=folder)
                registered = socket
                print(f"registered {bench.count} devices with kubelet socket {socket[0]}", flush=True)
        await asyncio.sleep(POLL_SECONDS)


def _identity(path: Path) -> tuple[int, int] | None:
    """Inode and change time: a filesystem gives a freed inode's number to the next file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


async def _listen(*, bench: Bench, folder: Path) -> Any:
    _, services = load("deviceplugin")
    (folder / "modelfleet-gpu.sock").unlink(missing_ok=True)
    server = grpc.aio.server()
    services.add_DevicePluginServicer_to_server(Plugin(bench=bench), server)
    server.add_insecure_port(f"unix://{folder}/modelfleet-gpu.sock")
    await server.start()
    return server


async def _register(*, folder: Path) -> None:
    messages, services = load("deviceplugin")
    request = messages.RegisterRequest(version="v1beta1", endpoint="modelfleet-gpu.sock", resource_name=RESOURCE)
    async with grpc.aio.insecure_channel(f"unix://{folder}/kubelet.sock") as channel:
        await services.RegistrationStub(channel).Register(request, timeout=5)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder in which tests mark devices")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--folder", type=Path, default=Path("/var/lib/kubelet/device-plugins"))
    options = parser.parse_args(argv)
    asyncio.run(serve(bench=Bench(folder=options.state, count=options.count), folder=options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
