"""The command ``doctor``: check machine, versions, corpus, token and cluster before a study."""

import os
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from raytune_yesno.commands.display import Printer
from raytune_yesno.errors import InputError


def doctor(options: Namespace, say: Printer) -> dict[str, Any]:
    """Check versions, task, data, token and cluster; print one line per check.

    Returns:
        What ``--json`` prints; ``exit_code`` is 1 if there is a problem.
    """
    from raytune_yesno.cluster.session import ray_session
    from raytune_yesno.commands.doctor_checks import (
        Check,
        examine_cluster,
        examine_machine,
        examine_storage_here,
    )
    from raytune_yesno.commands.machine_checks import examine_hardware

    checks: list[Check] = []

    def take(found: Iterator[Check]) -> None:
        for check in found:
            checks.append(check)
            say(check)

    take(examine_machine(options.data, options.task, skip_bad=options.skip_bad))
    take(examine_hardware())
    address = options.address or os.environ.get("RAY_ADDRESS")
    if address:
        try:
            with ray_session(options.address):
                take(examine_cluster(options.out))
        except InputError as error:
            take(iter([Check("cluster", "problem", str(error))]))
    else:
        said = "not asked for; `tune` starts one on this machine"
        take(iter([Check("cluster", "ok", said, "--address auto checks a running one")]))
        if options.out:
            take(examine_storage_here(options.out))
    ok = not any(check.status == "problem" for check in checks)
    return {"ok": ok, "checks": [vars(check) for check in checks], "exit_code": 0 if ok else 1}
