"""The definition of a cluster: the YAML file for ``ray up`` or KubeRay."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError
from raytune_yesno.files.yaml_text import load_documents, read_text

EDIT_MARK = "EDIT"
"""Values with this word must be replaced; the comment beside each says by what."""


@dataclass(frozen=True)
class Definition:
    """The definition of a cluster for Ray's launcher.

    Attributes:
        path: the file.
        raw: its content, without defaults.
    """

    path: Path
    raw: Mapping[str, Any]

    @property
    def provider(self) -> Mapping[str, Any]:
        """The section ``provider``; empty if missing."""
        return _mapping(self.raw.get("provider"))

    @property
    def auth(self) -> Mapping[str, Any]:
        """The section ``auth``; empty if missing."""
        return _mapping(self.raw.get("auth"))

    @property
    def provider_type(self) -> str:
        """The type of the provider, such as ``aws`` or ``local``."""
        return str(self.provider.get("type", ""))

    @property
    def node_types(self) -> Mapping[str, Mapping[str, Any]]:
        """The sections of ``available_node_types`` by name."""
        types = _mapping(self.raw.get("available_node_types"))
        return {str(name): _mapping(value) for name, value in types.items()}

    @property
    def head_type(self) -> str:
        """The name of the head's node type."""
        return str(self.raw.get("head_node_type", ""))

    def commands(self, key: str) -> list[str]:
        """Return the shell commands under a top-level key."""
        commands = self.raw.get(key)
        return [str(command) for command in commands] if isinstance(commands, list) else []

    @property
    def all_commands(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the text of each shell command."""
        for key in self.raw:
            if str(key).endswith("_commands"):
                for command in self.commands(key):
                    yield str(key), command
        for name, node_type in self.node_types.items():
            for key, commands in node_type.items():
                if str(key).endswith("_commands") and isinstance(commands, list):
                    for command in commands:
                        yield f"available_node_types.{name}.{key}", str(command)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read_documents(path: str | Path) -> list[Any]:
    """Read the documents of a YAML file.

    Raises:
        InputError: the file cannot be read, or is not YAML.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read ({reason}); give a cluster's YAML") from error
    try:
        return [document for document in load_documents(text) if document is not None]
    except ValueError as error:
        raise InputError(f"{path}: not valid YAML ({error}); correct it") from None


def is_manifest(documents: Sequence[Any]) -> bool:
    """Return whether the documents of a file are manifests for Kubernetes."""
    return bool(documents) and all(
        isinstance(item, Mapping) and "kind" in item for item in documents
    )


def walk_values(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each leaf of nested mappings and lists."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            # Keys may contain the mark too.
            if isinstance(name, str) and EDIT_MARK in name:
                yield f"{key}.{name}" if key else name, name
            yield from walk_values(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk_values(inner, f"{key}[{index}]")
    else:
        yield key, value


# Keys that the rules read, by the type of their values.
_MAPPINGS = frozenset(
    (
        *("provider", "auth", "docker", "file_mounts", "security_group", "azure_arm_parameters"),
        *("available_node_types", "node_config", "scheduling", "metadata", "spec", "template"),
        *("rayClusterSpec", "submitterPodTemplate", "authOptions", "autoscalerOptions", "limits"),
        *("headGroupSpec", "rayStartParams", "resources", "requests", "persistentVolumeClaim"),
    )
)
_LISTS = frozenset(
    (
        *("IpPermissions", "IpRanges", "Ipv6Ranges", "NetworkInterfaces", "networkInterfaces"),
        *("serviceAccounts", "workerGroupSpecs", "containers", "volumes"),
    )
)
_COUNTS = frozenset(("replicas", "minReplicas", "maxReplicas", "min_workers", "max_workers"))


def find_wrong_types(value: Any, key: str = "") -> Iterator[str]:
    """Yield values that are not the mapping, list of mappings or count that the rules expect."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from find_wrong_types(inner, f"{key}[{index}]")
    if not isinstance(value, Mapping):
        return
    for name, inner in value.items():
        where = f"{key}.{name}" if key else str(name)
        if inner is None or not isinstance(name, str):
            continue
        if name in _MAPPINGS and not isinstance(inner, Mapping):
            yield f"{where}: expected a mapping, not {inner!r:.60}"
        elif name == "available_node_types" and not all(
            isinstance(item, Mapping) for item in inner.values()
        ):
            yield f"{where}: expected a mapping under each name"
        elif name in _LISTS and not (
            isinstance(inner, list) and all(isinstance(item, Mapping) for item in inner)
        ):
            yield f"{where}: expected a list of mappings, not {inner!r:.60}"
        elif name in _COUNTS and type(inner) is not int:
            yield f"{where}: expected a whole number, not {inner!r:.60}"
        else:
            yield from find_wrong_types(inner, where)
