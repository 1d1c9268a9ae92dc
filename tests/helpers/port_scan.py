"""Ask every TCP port of an address what a stranger gets from it; run it where the stranger is.

    python scan.py ADDRESS [WRONG_TOKEN]

prints a JSON list, an object a port that accepts a connection: ``port``, ``speaks`` (``gRPC``,
``HTTP`` or the first thing it says), ``refused`` (how many questions, for want of the right token)
and ``open`` (the questions that were answered otherwise, and how). A gRPC port is asked every
method that Ray has, an HTTP port the paths that tell most or run something. Questions are empty,
and with the right token some of them end a cluster: it is never given here.
"""

import asyncio
import importlib
import json
import pkgutil
import socket
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import ray.core.generated

PORTS = range(1, 65536)
PATIENCE_S = 5.0
PATHS = (
    "GET /",
    "GET /api/version",
    "POST /api/jobs/",  # runs a command on the head
    "POST /api/job_agent/jobs/",  # the same on any node
    "GET /api/local_raylet_healthz",
    "GET /nodes?view=summary",
    "GET /logs",
    "GET /metrics",
    "POST /get_or_create_runtime_env",
)
# Python has no description of this service; its names are in Ray's object_manager.proto.
OBJECT_MANAGER = [
    f"/ray.rpc.ObjectManagerService/{name}" for name in ("Push", "Pull", "FreeObjects")
]
HTTP_REFUSALS = ("401", "403")


def find_open(address: str) -> list[int]:
    """Return the ports that accept a connection. A port without a listener refuses at once."""

    def accepts(port: int) -> bool:
        with socket.socket() as asked:
            asked.settimeout(PATIENCE_S)
            return asked.connect_ex((address, port)) == 0

    return [port for port in PORTS if accepts(port)]


async def ask_http(address: str, port: int, question: str, token: str) -> str:
    """Return the beginning of what a port says to an HTTP request."""
    header = f"Authorization: Bearer {token}\r\n" if token else ""
    request = (
        f"{question} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    try:
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(request.encode())
        said = await asyncio.wait_for(reader.read(200), PATIENCE_S)
        writer.transport.abort()
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    return said.decode(errors="replace").partition("\r\n")[0]


async def ask_grpc(address: str, port: int, token: str) -> dict[str, str]:
    """Return the status of each method that the port knows; of none where it speaks no gRPC."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    said: dict[str, str] = {}
    async with grpc.aio.insecure_channel(f"{address}:{port}") as channel:
        for name in sorted({*list_methods(), *OBJECT_MANAGER}):
            try:
                await channel.unary_unary(name)(b"", timeout=PATIENCE_S, metadata=metadata)
                said[name] = "OK"
            except grpc.aio.AioRpcError as error:
                said[name] = error.code().name
                if error.code() == grpc.StatusCode.UNAVAILABLE:
                    return {}
    return {name: status for name, status in said.items() if status != "UNIMPLEMENTED"}


def list_methods() -> Iterator[str]:
    """Yield Ray's methods that take one message and answer with one."""
    for module in pkgutil.iter_modules(ray.core.generated.__path__):
        if not module.name.endswith("_pb2"):
            continue
        file: Any = importlib.import_module(f"ray.core.generated.{module.name}").DESCRIPTOR
        for service in file.services_by_name.values():
            for method in service.methods:
                if not (method.client_streaming or method.server_streaming):
                    yield f"/{service.full_name}/{method.name}"


async def ask(address: str, port: int, token: str) -> dict[str, Any]:
    """Return what a port says."""
    first = await ask_http(address, port, PATHS[0], token)
    if first.startswith("HTTP/"):
        speaks = "HTTP"
        said = {path: await ask_http(address, port, path, token) for path in PATHS}
        said = {path: answer.partition(" ")[2] for path, answer in said.items()}
        refused = [path for path, answer in said.items() if answer.startswith(HTTP_REFUSALS)]
    else:
        said = await ask_grpc(address, port, token)
        speaks = "gRPC" if said else first
        refused = [name for name, status in said.items() if status == "UNAUTHENTICATED"]
    answered = {question: answer for question, answer in said.items() if question not in refused}
    return {"port": port, "speaks": speaks, "refused": len(refused), "open": answered}


async def scan(address: str, token: str) -> list[dict[str, Any]]:
    """Return what each open port says."""
    return [await ask(address, port, token) for port in find_open(address)]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(scan(sys.argv[1], sys.argv[2] if sys.argv[2:] else ""))))
