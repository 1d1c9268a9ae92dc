"""The peers' environment: pinned, and apart from the project's own."""

import subprocess
import sys
import sysconfig
import venv
from functools import cache
from pathlib import Path

from bench.speed.case import ROOT

FOLDER = ROOT / "test-artifacts" / "peers"
PINS = (
    "syne-tune==0.16.0",
    "dill==0.4.1",
    "psutil==7.2.2",
    "lightning==2.6.6",
    "pytorch-lightning==2.6.6",
    "lightning-utilities==0.15.3",
    "torchmetrics==1.9.0",
    "accelerate==1.15.0",
    "huggingface_hub==2.4.0",
    "safetensors==0.8.0",
)


@cache
def find_python() -> str:
    """Return the Python of the peers, and install them if they are missing.

    It sees this environment's packages behind its own, so that all train with the same torch.
    """
    python = FOLDER / "bin" / "python"
    wanted = "\n".join(PINS)
    mark = FOLDER / "pins.txt"
    if not mark.exists() or mark.read_text() != wanted:
        venv.create(FOLDER, clear=True, with_pip=True)
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        borrowed = FOLDER / "lib" / name / "site-packages" / "borrowed.pth"
        seen = (sysconfig.get_path("purelib"), ROOT, ROOT / "scripts")
        borrowed.write_text("".join(f"{path}\n" for path in seen))
        # Only these are missing; their other dependencies are for other uses.
        install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *PINS]
        subprocess.run(install, check=True)
        mark.write_text(wanted)
    return str(python)


def peer(name: str) -> list[str]:
    """Return the words of a peer's program."""
    return [find_python(), str(Path(__file__).parent / "peers" / f"{name}.py")]
