"""Send objects of the user's own modules to workers that do not have these modules."""

import copyreg
import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayError

from raytune_yesno.errors import InputError
from raytune_yesno.task_registry import TASKS
from raytune_yesno.user_code import describe_error, is_own

# The fields of a dataclass that is pickled by content refer to it, and are compared with it.
copyreg.pickle(type(dataclasses.MISSING), lambda missing: "MISSING")


@contextmanager
def sent_by_content(task: str) -> Iterator[None]:
    """Let Ray pickle what is defined in the module of a task that was given in Python by content.

    Installed modules are still sent by name. A task that was named by its file is sent as text, see
    :mod:`raytune_yesno.user_code`.

    Args:
        task: the name of the task.
    """
    value = getattr(TASKS.pack(task), "value", None)
    modules = {
        module
        for part in (value if isinstance(value, tuple) else (value,))
        if (module := sys.modules.get(getattr(part, "__module__", None) or ""))
        and module.__name__ != "__main__"
        and is_own(getattr(module, "__file__", None) or "<none>")
    }
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def put_shared(task: str, value: Any) -> "ray.ObjectRef[Any]":
    """Put what all workers need into Ray's object store.

    Args:
        task: the name of the task.
        value: its data, or what contains them.

    Raises:
        InputError: something in it cannot be pickled.
    """
    with sent_by_content(task):
        try:
            return ray.put(value)
        except RayError:
            raise
        except Exception as error:  # whatever a method of the data raises
            reason = describe_error(error.__cause__ or error)[0]  # Ray's message shows the data
            raise InputError(
                f"{task}: its data cannot be sent to the workers: {reason}; "
                "load_data has to return what can be pickled"
            ) from error
