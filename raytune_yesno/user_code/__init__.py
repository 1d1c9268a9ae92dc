"""The user's own code: read once by the driver, and sent to every process that runs it.

A file or a module that the user names is read on the driver. Workers import the text that the
driver read, on any node.

- :mod:`~raytune_yesno.user_code.ownership`: which code is the user's own.
- :mod:`~raytune_yesno.user_code.importing`: import it, from a file or from its text.
- :mod:`~raytune_yesno.user_code.references`: the source of an object that is given in Python.
- :mod:`~raytune_yesno.user_code.packing`: send it to workers.
- :mod:`~raytune_yesno.user_code.errors`: its errors, and whom they concern.
"""

from raytune_yesno.user_code.errors import (
    EVERY_TRIAL,
    NEW_STUDY,
    ONE_TRIAL,
    TaskError,
    describe_error,
    report_errors,
    stopped_by_errors,
    unfinished,
)
from raytune_yesno.user_code.importing import import_file, import_own
from raytune_yesno.user_code.ownership import is_own, is_own_object
from raytune_yesno.user_code.packing import Code, gather_beside, gather_sources

__all__ = [
    "EVERY_TRIAL",
    "NEW_STUDY",
    "ONE_TRIAL",
    "Code",
    "TaskError",
    "describe_error",
    "gather_beside",
    "gather_sources",
    "import_file",
    "import_own",
    "is_own",
    "is_own_object",
    "report_errors",
    "stopped_by_errors",
    "unfinished",
]
