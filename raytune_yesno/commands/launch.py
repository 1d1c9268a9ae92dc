"""The command ``launch``: run ``tune`` or ``train`` on a cluster and copy the results back."""

import contextlib
import functools
import time
import uuid
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from raytune_yesno.commands.common import note
from raytune_yesno.commands.display import Printer
from raytune_yesno.commands.settings import refuse_flags
from raytune_yesno.errors import InputError, Interrupted, WorkError, quote
from raytune_yesno.files.lock import find_holder, hold
from raytune_yesno.files.remote import is_remote
from raytune_yesno.launch.definition import Definition, is_manifest, read_documents
from raytune_yesno.launch.definition_rules import check_definition
from raytune_yesno.launch.existing_cluster import ExistingCluster
from raytune_yesno.launch.launch_state import LaunchState, find_launch, launch_folder
from raytune_yesno.launch.new_cluster import LaunchedCluster, run_to_end
from raytune_yesno.launch.packaging import gather_inputs, unpack_wheel
from raytune_yesno.launch.results import check_folder, find_folder
from raytune_yesno.signals import HANGUP_SIGNALS, stop_signals

PROGRAM = "raytune-yesno launch"


def launch(options: Namespace, say: Printer) -> dict[str, Any]:
    """Start, resume, check or end a launch.

    With ``--json`` the output of the job goes to standard error.

    Returns:
        What ``--json`` prints; ``exit_code`` is that of the job.

    Raises:
        InputError: the usage or a check is wrong.
        WorkError: a step failed. The message names the commands that resume and end the launch.
        Interrupted: a signal stopped this process; the job continues.
    """
    _check_usage(options)
    name = options.address
    if not name:
        path = Path(options.definition)
        if options.check and is_manifest(read_documents(path)):
            return _check_manifest(path)
        name = str(Definition(path, _read_definition(path)).raw.get("cluster_name", path.stem))
    show = functools.partial(print, end="", file=say.stream, flush=True)
    alone = contextlib.nullcontext() if options.check else _holding(name)
    with _naming_next_commands(options, name), alone:
        return _launch(options, name, show)


def _check_usage(options: Namespace) -> None:
    if options.address and options.definition:
        raise InputError("--address: an existing cluster needs no YAML; leave one of them out")
    if not options.address and not options.definition:
        raise InputError("give a cluster's YAML, e.g. cluster/onprem.yaml, or --address")
    modes = [mode for mode in ("check", "attach", "down") if getattr(options, mode)]
    if len(modes) > 1:
        raise InputError(f"--{modes[0]} and --{modes[1]} exclude each other; give one of them")
    if options.command and modes and modes != ["check"]:
        raise InputError(f"--{modes[0]} takes no command; leave out what follows --")
    if options.attach:
        refuse_flags(options, "shared", because="--attach follows a launch as it was begun")
    if options.down:
        refuse_flags(options, "out", "shared", "keep", because="--down ends the cluster")
    if not options.command and not modes:
        raise InputError("no command to run; give it after --, e.g. -- tune --trials 64")
    if options.command and options.command[0] not in ("tune", "train"):
        raise InputError(
            f"{options.command[0]!r} cannot be launched; give `tune` or `train` after --"
        )
    if options.address and options.command and not options.shared:
        raise InputError("--address: add --shared with a folder that all its nodes reach")
    if options.shared:
        check_folder("--shared", options.shared)
    if options.command and (given := find_folder(options.parsed)):
        check_folder(*given)


@contextlib.contextmanager
def _holding(name: str) -> Iterator[None]:
    """Keep other commands from the launch of a cluster, so that none of its steps is done twice.

    Raises:
        InputError: another command has it.
    """
    folder = launch_folder(name)
    holder = find_holder(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with contextlib.ExitStack() as held:
            try:  # a claim from before a reboot is taken over
                held.enter_context(hold(folder, note))
            except InputError:
                other = f"another command has this launch: {holder}; stop it first"
                raise InputError(f"{name}: {other}") from None
            yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # the launch has ended, or never began


def _launch(options: Namespace, name: str, show: Callable[[str], None]) -> dict[str, Any]:
    before = find_launch(name)
    reuse = before is not None and before.keep and before.phase == "home"
    launch = before or LaunchState(launch_folder(name), address=options.address or "")
    if options.definition:
        launch.definition = str(Path(options.definition).absolute())
    cluster = (
        ExistingCluster(launch, note, show)
        if options.address
        else LaunchedCluster(launch, note, show, options.wait)
    )
    if options.check:
        cluster.check()
        note("checked: no problem found")
        return {"cluster": name, "checked": True}
    if options.down:
        if options.address and before is None:
            raise InputError(
                f"{name}: no unfinished launch on this cluster was started here; nothing to stop"
            )
        cluster.down()
        launch.forget()
        if options.address:
            note(f"down: this launch is forgotten; {launch.study} on the cluster stays as it is")
        return {"cluster": name, "down": True}
    if options.attach:
        if before is None:
            raise InputError(f"{name}: no unfinished launch of this cluster was started here")
        launch.keep = launch.keep or options.keep
        if options.out:
            if launch.phase == "home":
                raise InputError(f"--out: the results are in {launch.out} already; leave it out")
            launch.save(out=str(_check_out(options.out)))
        return _finish(cluster, name, attach=True)
    if before and not reuse:
        raise InputError(
            f"{name}: the previous launch is unfinished; {_describe_next_commands(options, name)}"
        )
    _begin(options, cluster, reuse=reuse)
    return _finish(cluster, name, attach=False)


def _begin(options: Namespace, cluster: LaunchedCluster | ExistingCluster, *, reuse: bool) -> None:
    """Check a new launch, and save what it runs, before anything is started.

    Raises:
        InputError: the definition, the command or the folder of the results is wrong.
    """
    launch = cluster.launch
    out = _check_out(options.out or time.strftime("studies/%Y-%m-%d_%H-%M-%S"))
    shared = options.shared or cluster.studies
    given = find_folder(options.parsed)
    study = given[1] if given else f"{shared.rstrip('/')}/{out.name}"
    if options.command[0] == "train" and is_remote(study):
        raise InputError(
            f"{study}: `train` writes to folders only; give -- train --out with a folder that all "
            "nodes reach"
        )
    if not reuse:
        cluster.check()
        note("checked: definition, keys, nodes, versions, shared folder")
    arguments = gather_inputs(options.command, launch.inputs)
    arguments += [] if given else ["--out", study]
    unpack_wheel(launch.inputs)  # before it is saved: `--attach` needs all inputs
    launch.save(
        arguments=arguments,
        command_id=uuid.uuid4().hex,
        study=study,
        out=str(out),
        submission="",
        exit_code=None,
        keep=options.keep,
        phase="ready" if reuse or options.address else "new",
    )


def _check_out(text: str) -> Path:
    """Return the folder on this machine for the results, as an absolute path.

    Raises:
        InputError: it is not empty, or cannot be written.
    """
    from raytune_yesno.cluster.shared_storage import find_unwritable

    out = Path(text).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out}: it exists and is not empty; give a new folder")
    if problem := find_unwritable(str(out)):
        raise InputError(f"--out {out}: cannot be written to ({problem}); give another folder")
    return out


def _finish(
    cluster: LaunchedCluster | ExistingCluster, name: str, *, attach: bool
) -> dict[str, Any]:
    """Run a launch to its end; return the result of the command."""
    launch = cluster.launch
    exit_code = run_to_end(cluster, attach=attach)
    return {
        "cluster": name,
        "study": launch.study,
        "out": launch.out,
        "kept": launch.keep,
        "job_exit_code": exit_code,
        "exit_code": exit_code,
    }


class _Stop(KeyboardInterrupt):
    """A signal asked to stop.

    No ``Exception``: asyncio and the clients of Ray and of the clouds would swallow one.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


@contextlib.contextmanager
def _naming_next_commands(options: Namespace, name: str) -> Iterator[None]:
    """Add the commands that resume and end the launch to whatever stops it."""

    def stop(signum: int) -> NoReturn:
        raise _Stop(signum)

    try:
        with stop_signals(stop, numbers=HANGUP_SIGNALS):
            yield
    except _Stop as stopped:
        target, can_end = _find_target(options, name)
        if can_end:
            note(f"\nthe cluster keeps running; to end it: {target} --down")
        raise Interrupted(stopped.signum, f"{target} --attach" if target else "") from None
    except InputError:
        raise
    except WorkError as error:
        hint = _describe_next_commands(options, name)
        raise type(error)(*error.args, *([hint] if hint else [])) from error
    except Exception:
        if hint := _describe_next_commands(options, name):
            note(hint)
        raise


def _describe_next_commands(options: Namespace, name: str) -> str:
    """Return the commands that resume and end a saved launch; empty if none is saved."""
    target, can_end = _find_target(options, name)
    if not target:
        return ""
    launch = find_launch(name)
    phase = launch.phase if launch else ""
    what = {"new": "try again", "home": "end the cluster"}.get(phase, "resume")
    hint = f"to {what}: {target} --attach"
    return f"{hint}; to end it all: {target} --down" if can_end else hint


def _find_target(options: Namespace, name: str) -> tuple[str, bool]:
    """Return the command without its mode, and whether this launch may end the cluster."""
    if find_launch(name) is None:
        return "", False
    if options.address:
        return f"{PROGRAM} --address {quote(name)}", False
    return f"{PROGRAM} {quote(options.definition)}", True


def _check_manifest(path: Path) -> dict[str, Any]:
    """Check a manifest for KubeRay, which kubectl starts."""
    if problems := check_definition(path):
        raise InputError(*problems)
    note("checked: no problem found")
    return {"cluster": path.stem, "checked": True}


def _read_definition(path: Path) -> dict[str, object]:
    """Return the content of a definition for ``ray up``.

    Raises:
        InputError: the file is not one, or cannot be read.
    """
    documents = read_documents(path)
    if is_manifest(documents):
        raise InputError(
            f"{path}: a manifest for Kubernetes, which `launch` only checks (--check); start it "
            "with kubectl; see the top of cluster/kubernetes.yaml"
        )
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise InputError(
            f"{path}: not a definition for `ray up`, which is one mapping of keys to values; see "
            "cluster/README.md"
        )
    return documents[0]
