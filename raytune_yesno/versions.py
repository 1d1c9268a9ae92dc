"""The versions of Python and of the libraries that results depend on."""

import importlib.metadata
import os
import platform

COMMIT = "RAYTUNE_YESNO_COMMIT"
"""The environment variable with the commit that a job runs; results record it."""


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that results depend on."""
    names = ("raytune-yesno", "torch", "torchaudio", "ray", "numpy")
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    if commit := os.environ.get(COMMIT):
        versions["commit"] = commit
    return versions
