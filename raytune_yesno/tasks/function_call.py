"""How a user's function takes its config, and the state from which it resumes."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from raytune_yesno.errors import InputError

_STATE = "checkpoint"


@dataclass(frozen=True)
class Call:
    """How a function takes its config and its state.

    Attributes:
        names: the names of the parameters that it takes by position.
        takes_state: whether it takes a state: by position, or by the name ``checkpoint``.
        needs_state: whether it is called with None if there is no state.
    """

    names: tuple[str, ...] = ()
    takes_state: bool = True
    needs_state: bool = False

    def bind(self, function: Callable[..., Any], config: Any, state: Any) -> Callable[[], Any]:
        """Return the call of a function."""
        if not self.takes_state or (state is None and not self.needs_state):
            return partial(function, config)
        if len(self.names) > 1:
            return partial(function, config, state)
        return partial(function, config, **{_STATE: state})


def read_call(function: Callable[..., Any]) -> Call:
    """Return how a function takes a config and a state.

    Raises:
        InputError: it takes no config, or it requires more than a config and a state.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):  # compiled
        return Call(("config", _STATE))
    empty, many = inspect.Parameter.empty, inspect.Parameter.VAR_POSITIONAL
    taken = [each for each in parameters if each.kind <= many]  # by position
    if not taken:
        raise InputError("the function takes no config; write def f(config): …")
    if taken[0].kind is many:
        taken = [taken[0], taken[0]]
    elif len(taken) > 1 and not any(taken[1].default is each for each in (empty, None)):
        taken = taken[:1]
    for each in parameters:
        required = each.default is empty and each.kind not in (many, each.VAR_KEYWORD)
        if required and each not in taken[:2] and each.name != _STATE:
            raise InputError(
                f"the function requires {each.name!r}, but gets a config and a checkpoint; bind it "
                f"with functools.partial(f, {each.name}=…)"
            )
    by_name = next((each for each in parameters if each.name == _STATE), None)
    state = taken[1] if len(taken) > 1 else by_name
    needs_state = state is not None and state.kind is not many and state.default is empty
    return Call(tuple(each.name for each in taken[:2]), state is not None, needs_state)
