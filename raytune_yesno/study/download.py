"""Copy what analysis reads of a study or an experiment from a URI."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from raytune_yesno.errors import InputError, first_line
from raytune_yesno.files.remote import copy_files, hide_secrets, open_filesystem
from raytune_yesno.study.ray_experiment import is_read
from raytune_yesno.study.store import STORE


@contextlib.contextmanager
def copy_texts(uri: str) -> Iterator[Path]:
    """Copy the files that analysis reads from a URI to a temporary folder.

    Args:
        uri: URI of a study or an experiment, of a scheme that pyarrow knows.

    Yields:
        The temporary folder.

    Raises:
        InputError: there is neither at the URI, or it cannot be reached.
    """
    from pyarrow import fs

    system, root = open_filesystem(uri)
    shown = hide_secrets(uri)
    with tempfile.TemporaryDirectory() as kept:
        try:
            store = system.get_file_info(f"{root}/{STORE}")
            if store.type == fs.FileType.File:
                wanted = [store]
            else:
                listed = system.get_file_info(fs.FileSelector(root, recursive=True))
                wanted = [file for file in listed if is_read(file.base_name)]
            copy_files(system, wanted, root, Path(kept))
        except OSError as error:
            raise InputError(f"{shown}: cannot be read ({first_line(error)})") from None
        if not wanted:
            raise InputError(f"{shown}: no study here and no Ray Tune experiment; check the URI")
        yield Path(kept)
