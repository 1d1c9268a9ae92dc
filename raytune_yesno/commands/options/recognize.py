"""The options of ``evaluate``, ``predict`` and ``export``."""

from typing import Any

from raytune_yesno.commands.options.parser import add_command, integer, number_between
from raytune_yesno.commands.options.shared import add_data


def add_evaluate(commands: Any) -> None:
    """Add the command ``evaluate``."""
    parser = add_command(
        commands,
        "evaluate",
        "recognize.evaluate",
        "measure the word error rate of a checkpoint in many conditions",
        "Conditions that training never used are reported separately. False alarms,\n"
        "calibration and cost are measured too. Every rate has a 95 % interval.\n"
        "With --task: your own task's test or, without one, its validation.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder or URI of a checkpoint")
    parser.add_argument(
        "--task", metavar="NAME", help="the checkpoint is of your own class: file.py:Name"
    )
    add_data(parser, shown="the checkpoint's own corpus")
    parser.add_argument(
        "--split",
        choices=("train", "valid", "test", "all"),
        help="part of the corpus, split by the column of another corpus than the training's, else "
        "as in training [test]",
    )
    parser.add_argument(
        "--conditions",
        metavar="NAME,…",
        help="all, none, noise (white, pink, babble), new (all others), or a list of kinds "
        "such as hum,codec,padding [all]",
    )
    parser.add_argument(
        "--wordless",
        type=number_between(0, 36_000),
        metavar="S",
        help="seconds of each generated sound without words, to count false alarms; 0: none [60]",
    )
    _add_min_confidence(parser)
    parser.add_argument("--picture", metavar="PNG", help="plot the rates with their intervals")


def add_predict(commands: Any) -> None:
    """Add the command ``predict``."""
    parser = add_command(
        commands,
        "predict",
        "recognize.predict",
        "print the words of recordings",
        "Recordings may have any length; memory is bounded. To read from a microphone:\n"
        "  arecord -f S16_LE -r 8000 | raytune-yesno predict CHECKPOINT - --stream",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder or URI of a checkpoint")
    parser.add_argument("files", nargs="*", metavar="WAV", help="recordings; -: standard input")
    parser.optional_list = "files"
    parser.add_argument(
        "--sample",
        action="store_true",
        help="recognise a recording from the test part of the checkpoint's corpus",
    )
    parser.add_argument(
        "--stream", action="store_true", help="print each word as soon as it is recognised"
    )
    parser.add_argument(
        "--raw",
        type=integer,
        metavar="HZ",
        help="read headerless recordings: 16-bit little-endian mono samples at HZ",
    )
    _add_min_confidence(parser)


def add_export(commands: Any) -> None:
    """Add the command ``export``."""
    parser = add_command(
        commands,
        "export",
        "recognize.export",
        "write a recogniser as one ONNX or TorchScript file",
        "The file maps a waveform of any length to log-probabilities of the words.\n"
        "It runs without this package.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder or URI of a checkpoint")
    parser.add_argument(
        "--format",
        choices=("onnx", "torchscript"),
        help="format [torchscript if --out ends in .pt, else onnx]",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="output file [in this folder, named as the study or run]"
    )


def _add_min_confidence(parser: Any) -> None:
    parser.add_argument(
        "--min-confidence",
        type=number_between(0, 1),
        metavar="P",
        help="omit words below this confidence; 0: keep all [chosen in training]",
    )
