"""Find the corpus that a name stands for: YESNO, the built-in one, or a folder."""

import re
from pathlib import Path

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.download import Progress, find_yesno
from raytune_yesno.tasks.speech.folder import read_folder
from raytune_yesno.tasks.speech.synthetic import synthesize

YESNO_RECORDINGS = 60


def load_corpus(data: str, *, skip_bad: bool = False, progress: Progress | None = None) -> Corpus:
    """Read the corpus that `data` names.

    `yesno`: $YESNO_ROOT, else the user's cache, else a download into it, which calls `progress`.
    `synthetic`, `synthetic:N` or `synthetic:N:SEED`: the built-in one. Otherwise a folder that
    holds recordings or holds `waves_yesno`.

    Raise InputError with everything that is wrong; `skip_bad` leaves bad recordings out instead.
    """
    kind, *numbers = data.split(":")
    if kind == "synthetic":
        if len(numbers) > 2 or not all(re.fullmatch("[0-9]{1,18}", number) for number in numbers):
            raise InputError(f"{data!r}: write synthetic, synthetic:N or synthetic:N:SEED")
        return synthesize(*map(int, numbers))
    if data == "yesno":
        return read_folder(find_yesno(progress), skip_bad=skip_bad, num_expected=YESNO_RECORDINGS)
    folder = Path(data).expanduser()
    if not folder.is_dir():
        hint = suggest_name(data, ["yesno", "synthetic"])
        raise InputError(f"{data!r} is no folder and no corpus's name: {hint}")
    return read_folder(folder, skip_bad=skip_bad)
