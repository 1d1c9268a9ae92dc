"""`scripts/launch`: what can be asked, and what is printed when something stops it."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from raytune_yesno.errors import InputError, WorkError, quote
from raytune_yesno.files.remote import is_remote
from raytune_yesno.launch.cluster import Cluster, run_to_end
from raytune_yesno.launch.definition import Definition, read_documents
from raytune_yesno.launch.existing_cluster import ExistingCluster
from raytune_yesno.launch.launch_state import Launch, find_launch, launch_folder
from raytune_yesno.launch.packaging import gather_inputs, unpack_wheel

PROGRAM = "scripts/launch"
DESCRIPTION = """\
From a cluster's YAML to the results on this machine: check, start the cluster,
submit the command to its head, follow it, bring the study home, and take
everything down, verified.

Ctrl-C lets go: the study goes on there, and the command that comes back to it is
printed. Exit code: the command's; 1 where a step failed, 2 where a check did.
"""
EPILOG = """\
examples:
  scripts/launch cluster/onprem.yaml --check
  scripts/launch cluster/onprem.yaml --out studies/first -- tune --trials 64
  scripts/launch cluster/onprem.yaml --attach       go on after Ctrl-C, or a lost head
  scripts/launch cluster/onprem.yaml --down         end all of it
  scripts/launch --address http://127.0.0.1:8265 --shared /shared/studies -- tune
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a launch and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    options = build_parser().parse_args(words[:end])
    options.command = words[end + 1 :]
    name = ""
    try:
        _check_usage(options)
        if options.address:
            name = options.address
        else:
            path = Path(options.definition)
            definition = Definition(path, _only_mapping(path))
            name = str(definition.raw.get("cluster_name", path.stem))
        return _run(options, name)
    except KeyboardInterrupt:
        _say(f"\nlet go; {_describe_way_on(options, name)}")
        return 130
    except InputError as error:
        for line in str(error).splitlines():
            _say(f"{PROGRAM}: {line.strip()}")
        return 2
    except WorkError as error:
        for line in str(error).splitlines():
            _say(f"{PROGRAM}: {line.strip()}")
        if way_on := _describe_way_on(options, name):
            _say(way_on)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s CLUSTER.yaml [options] -- tune|train ARGUMENT…",
    )
    parser.add_argument("definition", nargs="?", metavar="CLUSTER.yaml")
    parser.add_argument("--check", action="store_true", help="check, and start nothing")
    parser.add_argument("--attach", action="store_true", help="go on with what was begun")
    parser.add_argument("--down", action="store_true", help="end all of the cluster, verified")
    parser.add_argument("--out", metavar="DIR", help="where results come to [studies/TIME]")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    parser.add_argument(
        "--address", metavar="URL", help="a dashboard: use that cluster, start and end nothing"
    )
    parser.add_argument(
        "--shared", metavar="DIR", help="with --address: a folder that all its nodes reach"
    )
    parser.add_argument(
        "--wait", type=float, default=900.0, metavar="S", help="how long nodes may take [900]"
    )
    return parser


def _check_usage(options: argparse.Namespace) -> None:
    if options.address and options.definition:
        raise InputError("--address: a cluster that is there needs no YAML")
    if not options.address and not options.definition:
        raise InputError("give a cluster's YAML, e.g. cluster/onprem.yaml, or --address")
    modes = [mode for mode in ("check", "attach", "down") if getattr(options, mode)]
    if len(modes) > 1:
        raise InputError(f"--{modes[0]} and --{modes[1]} do not go together")
    if options.command and modes and modes != ["check"]:
        raise InputError(f"--{modes[0]} takes no command")
    if not options.command and not modes:
        raise InputError("what is to be run? give it after --, e.g. -- tune --trials 64")
    if options.command and options.command[0] not in ("tune", "train"):
        raise InputError(f"{options.command[0]!r} cannot be launched, only `tune` and `train` can")
    if options.address and options.command and not options.shared:
        raise InputError("--address: name with --shared a folder that all its nodes reach")


def _run(options: argparse.Namespace, name: str) -> int:
    before = find_launch(name)
    reuse = before is not None and before.keep and before.phase == "home"
    launch = before or Launch(launch_folder(name), address=options.address or "")
    if options.definition:
        launch.definition = str(Path(options.definition).absolute())
    kind = ExistingCluster if options.address else Cluster
    cluster = kind(launch, _say, _show, options.wait)
    if options.check:
        cluster.check()
        _say("checked: nothing was found that would go wrong")
        return 0
    if options.down:
        cluster.down()
        launch.forget()
        return 0
    if options.attach:
        if before is None:
            raise InputError(f"{name}: nothing of it was begun here, or it is over")
        launch.keep = launch.keep or options.keep
        return run_to_end(cluster, attach=True)
    if before and not reuse:
        raise InputError(f"{name}: a launch of it is not over; {_describe_way_on(options, name)}")
    out = Path(options.out or time.strftime("studies/%Y-%m-%d_%H-%M-%S")).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out}: it exists and is not empty; give a new folder")
    if not reuse:
        cluster.check()
        _say("checked: definition, keys, machines, versions, shared folder")
    shared = options.shared or cluster.studies
    launch.save(
        arguments=gather_inputs(options.command, launch.inputs),
        study=_given_study(options.command) or f"{shared.rstrip('/')}/{out.name}",
        out=str(out),
        keep=options.keep,
        phase="ready" if reuse or options.address else "new",
    )
    unpack_wheel(launch.inputs)
    return run_to_end(cluster, attach=False)


def _given_study(words: Sequence[str]) -> str:
    """Return the folder on the cluster, or the URI, that a command itself names."""
    for index, word in enumerate(words):
        option, _, value = word.partition("=")
        if option in ("--out", "--resume"):
            value = value or "".join(words[index + 1 : index + 2])
            if not (value.startswith(("/", "~/")) or is_remote(value)):
                raise InputError(f"{option} {value}: on a cluster, it must be a whole path or URI")
            return value
    return ""


def _describe_way_on(options: argparse.Namespace, name: str) -> str:
    """Return the commands that go on with what was begun, or clean up."""
    launch = find_launch(name) if name else None
    if launch is None:
        return ""
    target = f"--address {quote(name)}" if options.address else quote(options.definition)
    what = {"new": "try again", "home": "take it down"}.get(launch.phase, "go on")
    on = f"to {what}: {PROGRAM} {target} --attach"
    return on if options.address else f"{on}; to end it all: {PROGRAM} {target} --down"


def _only_mapping(path: Path) -> dict[str, object]:
    documents = read_documents(path)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise InputError(f"{path}: not a definition for `ray up`; see cluster/README.md")
    return documents[0]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(text: str) -> None:
    print(text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
