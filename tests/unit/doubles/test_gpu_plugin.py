"""The device plugin against a scripted kubelet on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from e2e.doubles.gpu_plugin import serve
from e2e.doubles.gpus import Bench
from e2e.doubles.interfaces import load


class Kubelet:
    """Answers Register, and remembers who asked."""

    def __init__(self):
        self.seen = []

    async def Register(self, request, context):  # noqa: N802 - the interface's name
        self.seen.append((request.version, request.resource_name, request.endpoint))
        return load("deviceplugin")[0].Empty()


def empty(folder: Path) -> None:
    for old in folder.iterdir():
        old.unlink()


@asynccontextmanager
async def kubelet(folder: Path):
    """A kubelet as it starts: it empties the folder and makes a new socket."""
    empty(folder)
    service, server = Kubelet(), grpc.aio.server()
    load("deviceplugin")[1].add_RegistrationServicer_to_server(service, server)
    server.add_insecure_port(f"unix://{folder}/kubelet.sock")
    await server.start()
    try:
        yield service
    finally:
        await server.stop(grace=0)


async def eventually(condition: Callable[[], object], *, seconds: float = 60) -> None:
    """Awaits a condition that other tasks bring about."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in gRPC, which sets no event
            await asyncio.sleep(0.02)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "plugins"
    path.mkdir()
    return path


@pytest.fixture
async def plugin(folder, tmp_path):
    bench = Bench(folder=tmp_path / "state", count=2)
    task = asyncio.create_task(serve(bench=bench, folder=folder))
    yield bench
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_registers_again_with_a_restarted_kubelet(plugin, folder):
    for _ in range(2):
        async with kubelet(folder) as service:
            await eventually(lambda seen=service.seen: seen)
            assert service.seen[0] == ("v1beta1", "nvidia.com/gpu", "modelfleet-gpu.sock")
            assert (folder / "modelfleet-gpu.sock").exists()


async def test_a_marked_device_is_reported_unhealthy_and_mended(plugin, folder):
    messages, services = load("deviceplugin")
    async with kubelet(folder) as service:
        await eventually(lambda: service.seen)
        async with grpc.aio.insecure_channel(f"unix://{folder}/modelfleet-gpu.sock") as channel:
            stream = services.DevicePluginStub(channel).ListAndWatch(messages.Empty(), timeout=60)
            first = await stream.read()
            plugin.set_health(index=1, healthy=False)
            second = await stream.read()
            plugin.set_health(index=1, healthy=True)
            third = await stream.read()
            stream.cancel()
    health = [[device.health for device in answer.devices] for answer in (first, second, third)]
    assert health == [["Healthy", "Healthy"], ["Healthy", "Unhealthy"], ["Healthy", "Healthy"]]


async def test_a_container_is_told_its_own_devices(plugin, folder):
    messages, services = load("deviceplugin")
    wanted = plugin.ids()
    async with kubelet(folder) as service:
        await eventually(lambda: service.seen)
        async with grpc.aio.insecure_channel(f"unix://{folder}/modelfleet-gpu.sock") as channel:
            one = messages.ContainerAllocateRequest(devices_ids=wanted)
            answer = await services.DevicePluginStub(channel).Allocate(
                messages.AllocateRequest(container_requests=[one]), timeout=60
            )
    assert dict(answer.container_responses[0].envs) == {"NVIDIA_VISIBLE_DEVICES": ",".join(wanted)}
