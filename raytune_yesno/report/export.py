"""Write tables of trials and epochs as CSV, Parquet, JSON or Markdown, by file suffix."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_yesno.errors import InputError, escape_controls
from raytune_yesno.files.atomic import replace_file
from raytune_yesno.files.json_text import dump_json, to_strict_json
from raytune_yesno.study import Study, name_studies

Row = dict[str, Any]


def check_exports(files: Sequence[str]) -> None:
    """Check the suffixes of files before studies are read.

    Raises:
        InputError: a suffix is not a known format.
    """
    for file in files:
        if Path(file).suffix.lower() not in WRITERS:
            raise InputError(
                f"--export {file}: unknown format; use a name that ends in {', '.join(WRITERS)}"
            )


def collect_trials(studies: Sequence[Study]) -> list[Row]:
    """Return a row per trial, with the columns of :attr:`Study.trials`.

    Rows of several studies have a column ``study`` with the study's name.
    """
    return _name_rows(studies, [study.trial_rows for study in studies])


def collect_epochs(studies: Sequence[Study]) -> list[Row]:
    """Return a row per trial and epoch, with the columns of :attr:`Study.epochs`.

    Rows of several studies have a column ``study`` with the study's name.
    """
    return _name_rows(studies, [study.epoch_rows for study in studies])


def list_heads(studies: Sequence[Study], *, epochs: bool = False) -> list[str]:
    """Return the columns that a table of trials, or of epochs, has even without rows."""
    tables = [study.epoch_columns if epochs else study.trial_columns for study in studies]
    first = ["study"] if len(studies) > 1 else []
    return list(dict.fromkeys([*first, *(column for table in tables for column in table)]))


def write_table(rows: Sequence[Row], file: Path, heads: Sequence[str] = ()) -> None:
    r"""Write rows in the format of the file's suffix.

    A missing or non-finite number is empty in CSV and Markdown, and null in Parquet and JSON. NaN
    and infinities in a config are the strings ``nan``, ``inf`` and ``-inf``. CSV and Markdown
    escape control characters (``\n``, ``\x1b``). In CSV, a string that a spreadsheet would run as
    a formula starts with an apostrophe. Parquet and JSON keep strings unchanged. Parquet keeps the
    types of numbers, booleans, strings and lists; a column of mixed types or of mappings holds
    JSON strings, and its field metadata has ``encoding`` = ``json``.

    Args:
        rows: mappings from column to value.
        file: the file to write. It is replaced atomically, because another program may be reading
            it.
        heads: the columns of a table without rows.
    """
    keys = dict.fromkeys(key for row in rows for key in row) or dict.fromkeys(heads)
    columns = {
        key: [to_strict_json(row.get(key), spell=key.startswith("config.")) for row in rows]
        for key in keys
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(file) as part:
        WRITERS[file.suffix.lower()](columns, part)


def format_markdown(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; floats have four significant digits."""
    lines = [[str(head) for head in heads], ["---"] * len(heads)]
    lines += [[_format_cell(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(map(_escape, line)) + " |" for line in lines)


def _name_rows(studies: Sequence[Study], tables: Sequence[Sequence[Row]]) -> list[Row]:
    if len(studies) == 1:
        return list(tables[0])
    names = name_studies(studies)
    return [
        {"study": name, **row} for name, rows in zip(names, tables, strict=True) for row in rows
    ]


def _write_csv(columns: Mapping[str, list[Any]], file: Path) -> None:
    import csv

    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([_format_csv(name) for name in columns])
        for row in zip(*columns.values(), strict=True):
            writer.writerow([_format_csv(cell) for cell in row])


def _format_csv(cell: object) -> object:
    """Return a cell that no terminal or spreadsheet executes; numbers stay numbers."""
    if cell is None or isinstance(cell, int | float):
        return cell
    text = escape_controls(str(cell))
    is_formula = text.lstrip().startswith(_FORMULA_STARTS) and text != "-inf"
    return f"'{text}" if is_formula else text


def _write_json(columns: Mapping[str, list[Any]], file: Path) -> None:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    lines = ",\n".join(dump_json(row) for row in rows)
    file.write_text(f"[{lines}]\n", encoding="utf-8")


def _write_markdown(columns: Mapping[str, list[Any]], file: Path) -> None:
    table = format_markdown(list(columns), list(zip(*columns.values(), strict=True)))
    file.write_text(table + "\n", encoding="utf-8")


def _write_parquet(columns: Mapping[str, list[Any]], file: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    fields, arrays = [], []
    for name, values in columns.items():
        encoding = None
        try:
            if any(isinstance(value, dict) for value in values):
                raise pa.ArrowInvalid("column holds mappings")
            array = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            encoding = {"encoding": "json"}
            array = pa.array([None if v is None else json.dumps(v) for v in values], pa.string())
        if pa.types.is_null(array.type) and name in _TEXTS:
            array = array.cast(pa.string())
        fields.append(pa.field(name, array.type, metadata=encoding))
        arrays.append(array)
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    with file.open("wb") as stream:  # pyarrow rejects file names that are not UTF-8
        parquet.write_table(table, stream)


# Characters that start a formula; with some locales the full-width forms do so too.
_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_TEXTS = frozenset(("error", "host", "node", "device", "status"))

WRITERS: dict[str, Callable[[Mapping[str, list[Any]], Path], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".json": _write_json,
    ".md": _write_markdown,
}


def _format_cell(cell: object) -> str:
    if cell is None:
        return ""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _escape(text: str) -> str:
    text = escape_controls(" ".join(text.split()))
    return text.replace("|", "\\|").replace("<", "&lt;")
