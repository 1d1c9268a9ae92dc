"""The options of ``launch``."""

from typing import Any

from raytune_yesno.commands.options.parser import add_command, number

_LAUNCH_DETAILS = """\
Check a cluster's YAML, start the cluster, submit the command to its head,
follow the job, copy the study to this machine, take everything down, and check
that nothing is left.

Ctrl-C stops following: the job continues, and the command that follows it again
is printed. Exit code: the job's; 1 if a step failed, 2 if a check failed.

examples:
  raytune-yesno launch cluster/onprem.yaml --check
  raytune-yesno launch cluster/onprem.yaml --out studies/first -- tune --trials 64
  raytune-yesno launch cluster/onprem.yaml --attach   resume after Ctrl-C or a lost head
  raytune-yesno launch cluster/onprem.yaml --down     end the cluster
  raytune-yesno launch --address http://127.0.0.1:8265 --shared /shared/studies -- tune
"""


def add_launch(commands: Any) -> None:
    """Add the command ``launch``."""
    parser = add_command(
        commands,
        "launch",
        "launch.launch",
        "run `tune` or `train` on a cluster, then copy the results here",
        _LAUNCH_DETAILS,
    )
    parser.takes_command = ("tune", "train")
    parser.usage = "%(prog)s CLUSTER.yaml [options] -- tune|train ARGUMENT…"
    parser.add_argument(
        "definition",
        nargs="?",
        metavar="CLUSTER.yaml",
        help="definition of the cluster; cluster/README.md describes it",
    )
    parser.add_argument("--check", action="store_true", help="check only; start nothing")
    parser.add_argument(
        "--attach", action="store_true", help="resume a launch after Ctrl-C or a lost head node"
    )
    parser.add_argument(
        "--down",
        action="store_true",
        help="end the whole cluster and check that nothing is left; with --address: stop the job",
    )
    parser.add_argument("--out", metavar="DIR", help="folder for the results [studies/TIME]")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    parser.add_argument(
        "--address", metavar="URL", help="use the cluster of this dashboard; start and end nothing"
    )
    parser.add_argument(
        "--shared", metavar="DIR", help="with --address: a folder that all its nodes reach"
    )
    parser.add_argument(
        "--wait", type=number, default=900.0, metavar="S", help="seconds to wait for nodes [900]"
    )
