"""The desk at the near end of a bad line, as a process: `python -m tests.devices.bad_line_desk FOLDER NEAR FAR CODE`.

Pairs, pushes and watches, and says each step in a line. When the board has moved, it finds it and pushes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgestudio.devices.deploy import deploy
from edgestudio.devices.discovery import Discovery
from edgestudio.devices.known import KnownBoard
from edgestudio.devices.pairing import pair
from edgestudio.devices.publisher import Publisher
from edgestudio.devices.session import BoardSession
from edgestudio.wire.identity import Identity
from tests.agent import releases

PORT = 7443


def say(step: str, **more: Any) -> None:
    sys.stdout.write(json.dumps({"step": step, **more}) + "\n")
    sys.stdout.flush()


async def main(folder: Path, near: str, far: str, code: str) -> None:
    identity = Identity.load_or_create(folder / "desk", "desk")
    publisher = Publisher(folder / "publisher")
    board = (await pair(identity, "desk", far, PORT, code)).board
    say("paired")
    seen: list[int] = []
    served = asyncio.Event()
    async with BoardSession(identity, board) as session, BoardSession(identity, board) as watching:
        watcher = asyncio.create_task(watch(watching, seen, served))
        first = await push(session, publisher, release(folder, 1), "1.0.0")
        say("pushed", end=first)
        await asyncio.to_thread(sys.stdin.readline)
        moved = await found(board, near, far)
        say("found", host=moved.host)
        await asyncio.gather(session.move(moved), watching.move(moved))
        second = await push(session, publisher, release(folder, 2), "2.0.0")
        state = await session.state()
        await asyncio.wait_for(served.wait(), 60)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        say("pushed", end=second, previous=state["models"]["digits"]["previous"]["version"], seen=seen)


async def push(
    session: BoardSession, publisher: Publisher, release: releases.LocalRelease, version: str
) -> str:
    """The last state and its reason."""
    files = {role: release.paths[file.sha256] for role, file in release.manifest.files.items()}
    signed = publisher.publish("digits", version=version, files=files, limits=releases.SHORT)
    end = ""
    async for state in deploy(session, publisher, signed):
        end = f"{state.name} {state.reason}".strip()
    return end


async def watch(session: BoardSession, seen: list[int], served: asyncio.Event) -> None:
    """`served` once a window of the second release came."""
    async with contextlib.aclosing(session.records(after=("", 0), acknowledge=True)) as records:
        async for record in records:
            if "seq" in record:
                seen.append(record["seq"])
            if record["k"] == "win" and record["n"] and record["ver"] == "2.0.0":
                served.set()


async def found(board: KnownBoard, near: str, old: str) -> KnownBoard:
    """Where the board says that it is now."""
    discovery = Discovery(interfaces=[near])
    await discovery.start()
    try:
        for _ in range(600):
            for one in discovery.found:
                if one.fingerprint == board.fingerprint and one.host != old:
                    return KnownBoard(**{**board.__dict__, "host": one.host, "port": one.port})
            await asyncio.sleep(0.1)
    finally:
        await discovery.stop()
    raise AssertionError(f"nothing but {discovery.found}")


def release(folder: Path, seed: int) -> releases.LocalRelease:
    """300 kB that say something about each picture: the line carries some 40 kB a second."""
    import onnx

    chance = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array(chance.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w", (64, 1000)), ("v", (1000, 10)))
    ]
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["bent"]),
        helper.make_node("MatMul", ["bent", "v"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph(nodes, "small", [image], [logits], weights)
    path = folder / f"small{seed}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return releases.make_release(folder / f"r{seed}", model=path, counter=seed, with_golden=False)


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(Path(sys.argv[1]), *sys.argv[2:]), 200))
