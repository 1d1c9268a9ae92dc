"""YAML as people write it."""

import re
from typing import Any

import yaml

_TEXT, _BASE_60 = "tag:yaml.org,2002:str", re.compile(r"[-+]?[0-9_]+(:[0-9]+)+(\.[0-9_]*)?$")


class _Loader(yaml.SafeLoader):
    """Take ``1:4`` for text; YAML 1.1 reads 64, a number to the base of 60."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (it is the base class's)
        first: [(_TEXT, _BASE_60), *known] if first in "+-0123456789" else known
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse_yaml(text: str) -> Any:
    """Return what a YAML document says.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.load(text, _Loader)
