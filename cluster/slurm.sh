#!/usr/bin/env bash
# Slurm: one allocation, one Ray cluster in it, one study. `sbatch cluster/slurm.sh tune --config
# study.yaml --out /shared/studies/first`. What you must change is marked EDIT.
#
# What ends the job ends the cluster: Slurm kills every process of it, on every node. A study that was
# cut off, by the time limit for instance, goes on with `sbatch cluster/slurm.sh tune --resume …`.
#
#SBATCH --job-name=raytune-yesno
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=2G
#SBATCH --time=01:00:00
#SBATCH --signal=TERM@120
#SBATCH --export=NONE
# For GPUs: add --gpus-per-task=1 above, and --use-gpu to the command.
set -euo pipefail

ENVIRONMENT=${YESNO_ENVIRONMENT:-$HOME/raytune-yesno/.venv} # EDIT: on a folder that all nodes share
CPUS=${SLURM_CPUS_PER_TASK:-1}
[ $# -gt 0 ] || {
    echo "usage: sbatch $0 tune …" >&2
    exit 2
}
PATH=$ENVIRONMENT/bin:$PATH
export PATH RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
# Metrics ports ask for no token: each node's is turned off, and the head's two, for which Ray has no
# switch, get a number that no port has.
export RAY_enable_metrics_collection=0 AUTOSCALER_METRIC_PORT=65536 DASHBOARD_METRIC_PORT=65536
unset RAY_ADDRESS
# Ray would send a proxy the token, on its way to this very machine.
DIRECT=${no_proxy:-},${NO_PROXY:-},localhost,127.0.0.1,::1
export no_proxy=$DIRECT NO_PROXY=$DIRECT
# There is no dashboard: Ray would send the token to port 8265, whoever listens there.
export RAY_API_SERVER_ADDRESS=http://127.0.0.1:1
# Ray reports even that its usage statistics are off.
export RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:1

# The token is this job's own: nodes are shared, and other users reach their ports. It lies where
# all nodes find it, and is made before Ray would make it readable for everybody.
RAY_AUTH_TOKEN_PATH=$(
    umask 077
    mkdir -p "$HOME/.ray"
    mktemp "$HOME/.ray/job-${SLURM_JOB_ID:?this is for sbatch}-XXXXXX"
)
export RAY_AUTH_TOKEN_PATH
# Sockets lie below: the name is short, and not the one that another job on the node has.
RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID
export RAY_TMPDIR
(umask 077 && python -I -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH")

mapfile -t NODES < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
HEAD=${NODES[0]}
ADDRESS=$(srun --nodes=1 --ntasks=1 --nodelist="$HEAD" hostname --ip-address | awk '{print $1}')
# Jobs that share a node as their head must not share a port.
PORT=$((20000 + SLURM_JOB_ID % 20000))
STEPS=()

finish() {
    local code=$?
    trap - EXIT
    # Before the token is gone: `ray start --block` ends its node when it is told to.
    [ ${#STEPS[@]} -eq 0 ] || kill "${STEPS[@]}" 2>/dev/null || true
    wait || true
    rm -f "$RAY_AUTH_TOKEN_PATH"
    exit "$code"
}
trap finish EXIT
trap 'exit 143' TERM

start() { # start HOST OPTION…
    local host=$1
    shift
    # Ray runs a module with `python -m`, which imports what lies in the working directory.
    srun --nodes=1 --ntasks=1 --cpus-per-task="$CPUS" --overlap --nodelist="$host" --chdir=/ \
        ray start --block --num-cpus="$CPUS" --disable-usage-stats "$@" &
    STEPS+=($!)
}

start "$HEAD" --head --node-ip-address="$ADDRESS" --port="$PORT" --include-dashboard=false
for host in "${NODES[@]:1}"; do
    start "$host" --address="$ADDRESS:$PORT"
done

# All nodes, or nothing: a study on fewer would take its time and say nothing.
python -I - "$ADDRESS:$PORT" "${#NODES[@]}" <<'PYTHON'
import sys
import time

import ray

from raytune_yesno.cluster.session import ray_session
from raytune_yesno.errors import InputError

address, wanted = sys.argv[1], int(sys.argv[2])
deadline = time.monotonic() + 300
here = 0
while here < wanted:
    try:
        with ray_session(address):
            here = sum(node["Alive"] for node in ray.nodes())
    except InputError as error:  # the head is still starting
        reason = error
    if here < wanted and time.monotonic() > deadline:
        sys.exit(f"{here} of {wanted} nodes have come up in 300 s" if here else str(reason))
    time.sleep(1)
PYTHON

# The study hears of the time limit (--signal above) while there is time to stop in good order.
srun --nodes=1 --ntasks=1 --overlap --nodelist="$HEAD" \
    raytune-yesno "$@" --address "$ADDRESS:$PORT" &
STUDY=$!
trap 'kill -TERM $STUDY; wait $STUDY; exit 143' TERM
wait "$STUDY"
