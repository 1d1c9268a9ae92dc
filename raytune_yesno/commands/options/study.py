"""The options of ``study``."""

from typing import Any

from raytune_yesno.commands.options.parser import add_command, add_group

_STUDY_DETAILS = """\
Requests reach the study through its folder or URI, from any machine. The
command that runs the study carries them out within seconds and records them.

examples:
  raytune-yesno study studies/first status
  raytune-yesno study studies/first stop 3           stop trial 3
  raytune-yesno study studies/first stop search      end the search, then refit
  raytune-yesno study studies/first enqueue learning_rate=1e-3,dropout=0.2
"""


def add_study(commands: Any) -> None:
    """Add the command ``study``."""
    study = add_group(
        commands,
        "study",
        "look at a running study, stop a trial or the search, add a trial",
        f"Look at a running study, and act on it.\n\n{_STUDY_DETAILS}",
    )
    study.add_argument("study", metavar="STUDY", help="a folder or URI that `tune` writes to")
    actions = study.add_subparsers(metavar="ACTION", required=True)
    add_command(
        actions, "status", "study.status", "print who runs the study, its trials and its requests"
    )
    stop = add_command(actions, "stop", "study.stop", "stop a trial, or the search")
    stop.add_argument(
        "target", metavar="TRIAL|search", help="number of the trial, or search to end the search"
    )
    enqueue = add_command(actions, "enqueue", "study.enqueue", "add a trial of a given point")
    enqueue.add_argument(
        "point",
        metavar="KEY=VALUE,…",
        help="a value for each searched key; missing ones are as in the config",
    )
