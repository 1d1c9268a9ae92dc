"""The installed Ray has the private parts that are used."""

import inspect

import pytest

from raytune_yesno.cluster import ray_private


@pytest.mark.parametrize("name", ray_private._PARTS)
def test_a_private_part_exists_with_its_members(name: str) -> None:
    part = getattr(ray_private, name)
    for member in ray_private._PARTS[name].members.split():
        is_set = hasattr(part, member) or f"self.{member}" in inspect.getsource(part)
        assert is_set, f"{name}.{member}"
