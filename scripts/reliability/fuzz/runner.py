"""Try inputs in separate processes with limited memory; the death of one is a finding."""

import json
import os
import pickle
import resource
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from reliability.fuzz.kind import LIMIT_BYTES, LIMIT_S, Kind, Verdict, try_inputs

_SILENT_S = LIMIT_S + 20  # without a word from a process: it hangs where no signal reaches it


def run_kind(
    kind: Kind,
    seed: int,
    *,
    count: int,
    deadline: float,
    on_finding: Callable[[Any, Verdict], None],
) -> Counter[str]:
    """Try up to ``count`` inputs of a kind, until a monotonic time; count the outcomes."""
    ends: Counter[str] = Counter()
    process = 0
    while sum(ends.values()) < count and time.monotonic() < deadline:
        left = count - sum(ends.values())
        for damaged, verdict in _run_process(kind, f"{seed} {kind.name} {process}", left, deadline):
            ends[verdict.outcome] += 1
            if verdict.outcome not in ("refused", "accepted"):
                on_finding(damaged, verdict)
        process += 1
    return ends


def _run_process(kind: Kind, seed: str, count: int, deadline: float) -> Any:
    """Yield the verdicts of a process, and the input of each finding."""
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.close(reader)
            try:
                _make_tries(kind, seed, count, deadline, Path(folder), writer)
            finally:
                os._exit(0)
        os.close(writer)
        os.set_blocking(reader, False)
        rest, open_end, told = b"", True, 0
        while open_end:
            if not select.select([reader], [], [], _SILENT_S)[0]:
                os.kill(child, signal.SIGKILL)
                yield None, Verdict("hang", f"nothing was heard for {_SILENT_S:.0f} s")
                break
            block = os.read(reader, 1 << 16)
            open_end = bool(block)
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if said == "end":
                    open_end = False
                    continue
                told += 1
                damaged = pickle.loads(bytes.fromhex(said[2])) if said[2] else None
                yield damaged, Verdict(said[0], said[1])
        os.close(reader)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
            name = signal.Signals(os.WTERMSIG(status)).name
            yield None, Verdict("traceback", f"the process died of {name} after {told} tries")


def _make_tries(
    kind: Kind, seed: str, count: int, deadline: float, folder: Path, writer: int
) -> None:
    quiet = os.open(folder / "said", os.O_CREAT | os.O_RDWR | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + LIMIT_BYTES, now + LIMIT_BYTES))
    tries = try_inputs(kind, Random(seed), folder / "work")
    for _, (damaged, verdict) in zip(range(count), tries, strict=False):
        finding = verdict.outcome not in ("refused", "accepted")
        kept = pickle.dumps(damaged).hex() if finding else ""
        line = json.dumps([verdict.outcome, verdict.what, kept]) + "\n"
        _write(writer, line.encode())
        if time.monotonic() > deadline:
            break
    _write(writer, b'"end"\n')


def _write(writer: int, data: bytes) -> None:
    while data:
        data = data[os.write(writer, data) :]
