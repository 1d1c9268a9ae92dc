"""Hold a lock in a process of its own, which a test may suspend or kill.

Run as a program with a place and the name of a kernel to claim, empty for this one's. It prints
``held`` or ``refused``, and after each line on standard input ``held`` or ``lost``.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.files import claim, lock

# In the same proportions as the lock's own, and quicker.
STALE_S, BEAT_S, SETTLE_S = 3.0, 0.3, 0.3


@contextmanager
def holder(place: str | Path, *, kernel: str = "") -> Iterator["subprocess.Popen[str]"]:
    """Run a process that asks for a lock; kill it if it is still there at the end."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(place), kernel],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_line(process: "subprocess.Popen[str]") -> str:
    """Return the next line that a holder printed."""
    assert process.stdout
    return process.stdout.readline().strip()


def ask(process: "subprocess.Popen[str]") -> str:
    """Let a holder check its lock and return what it says: ``held`` or ``lost``."""
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
    return read_line(process)


def main(place: str, kernel: str) -> None:
    lock.STALE_S, lock.BEAT_S, lock._SETTLE_S = STALE_S, BEAT_S, SETTLE_S
    if kernel:
        lock.read_kernel = claim.read_kernel = lambda: kernel
    try:
        with lock.hold(place, lambda line: None) as held:
            print("held", flush=True)
            for _ in sys.stdin:
                held.check()
                print("held", flush=True)
    except InputError:
        print("refused", flush=True)
    except WorkError as error:
        print("lost", flush=True)
        print(error, file=sys.stderr)


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGTERM, lambda *_: None)  # the lock asks the command to end by it
    main(*sys.argv[1:])
