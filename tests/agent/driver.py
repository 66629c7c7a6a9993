"""A board in a process of its own that may be killed: pushes one release into it and prints what became of it.

python -m tests.agent.driver BOARD_DIR RELEASE_DIR VERSION COUNTER   (or no release: only start and report)
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from edgestudio.agent.store.gc import FINISHED
from edgestudio.agent.supervisor import Supervisor
from edgestudio.wire.errors import EdgeStudioError
from edgestudio.wire.release import HealthLimits
from tests.agent import releases


async def main() -> None:
    board = releases.supervisor(Path(sys.argv[1]))
    await board.start()
    report: dict[str, object] = {}
    try:
        if len(sys.argv) > 2:
            report["push"] = await _push(board)
        else:
            row = board.ledger.open_row
            if row is not None and row.state not in FINISHED | {"RECEIVING"}:
                await releases.ended(board, row.id)
            report["resumed"] = board.state()["installs"][-1]
        state = board.state()
        models = state["models"]
        report["active"] = {name: (m["active"] or {}).get("version") for name, m in models.items()}
        report["serving"] = {name: m["serving"] for name, m in models.items()}
        report["phase"] = state["phase"]
        report["safe_mode"] = state["safe_mode"]
        report["golden"] = await _answers(board)
    finally:
        await board.stop()
    sys.stdout.write(json.dumps(report))


async def _push(board: Supervisor) -> dict[str, object]:
    folder, version, counter = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    limits = releases.SHORT
    if len(sys.argv) > 5:  # a release that is bound to fail its trial
        limits = HealthLimits(trial_s=8.0, trial_inferences=10, memory_bytes=1)
    golden, _ = releases.sample_golden(releases.digits(), count=counter)
    release = releases.make_release(
        folder, version=version, counter=counter, limits=limits, golden=golden, created=1e9 + counter
    )
    try:
        return await releases.push(board, release)
    except EdgeStudioError as error:
        return {"state": "REFUSED", "reason": error.message, "code": error.code}


async def _answers(board: Supervisor) -> str:
    bay = board.models.bays.get("digits")
    if bay is None or bay.serving is None:
        return "nothing serves"
    return await bay.serving.check_golden()


if __name__ == "__main__":
    asyncio.run(main())
