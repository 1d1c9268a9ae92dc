"""Try inputs in separate processes with limited memory; the death of one is a finding."""

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from reliability.fuzz.kind import LIMIT_BYTES, LIMIT_S, Kind, Verdict, try_inputs

_SILENT_S = LIMIT_S + 20  # without a word from a process: it hangs where no signal reaches it
_CONTEXT = multiprocessing.get_context("fork")  # the readers are imported, as are their libraries


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
            if verdict.is_finding:
                on_finding(damaged, verdict)
        process += 1
    return ends


def _run_process(
    kind: Kind, seed: str, count: int, deadline: float
) -> Iterator[tuple[Any, Verdict]]:
    """Yield the verdicts of a process, and the input of each finding."""
    reader, writer = _CONTEXT.Pipe(duplex=False)
    told = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, reader:
        child = _CONTEXT.Process(
            target=_make_tries, args=(kind, seed, count, deadline, Path(folder), writer)
        )
        sys.stdout.flush()
        child.start()
        writer.close()
        while reader.poll(_SILENT_S):
            try:
                yield reader.recv()
            except (EOFError, OSError):  # at its end, or in the middle of a message
                break
            told += 1
        else:
            child.kill()
            yield None, Verdict("hang", f"nothing was heard for {_SILENT_S:.0f} s")
        child.join()
    if child.exitcode not in (0, -signal.SIGKILL):
        yield None, Verdict("traceback", f"the process ended with {child.exitcode} after {told}")


def _make_tries(
    kind: Kind, seed: str, count: int, deadline: float, folder: Path, writer: Connection
) -> None:
    quiet = os.open(folder / "said", os.O_CREAT | os.O_RDWR | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + LIMIT_BYTES, now + LIMIT_BYTES))
    tries = try_inputs(kind, Random(seed), folder / "work")
    for _, (damaged, verdict) in zip(range(count), tries, strict=False):
        writer.send((damaged if verdict.is_finding else None, verdict))
        if time.monotonic() > deadline:
            break
