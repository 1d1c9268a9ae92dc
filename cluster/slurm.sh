#!/usr/bin/env bash
# Slurm: one allocation, one Ray cluster, one study. Values to change are marked EDIT.
#
#   sbatch cluster/slurm.sh tune --config study.yaml --out /shared/studies/first
#
# The cluster ends with the job: Slurm kills every process on every node. Submit the same command again
# after the time limit: it continues the study in --out. After a lost node or a preemption, Slurm does
# that itself (--requeue).
#
#SBATCH --job-name=raytune-yesno
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=2G
#SBATCH --time=01:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --export=NONE
# For GPUs: add --gpus-per-task=1 above, and --use-gpu to the command.
set -euo pipefail

ENVIRONMENT=${YESNO_ENVIRONMENT:-$HOME/raytune-yesno/.venv} # EDIT: in a folder that all nodes share
CPUS=${SLURM_CPUS_PER_TASK:-1}
[ $# -gt 0 ] || {
    echo "usage: sbatch $0 tune …" >&2
    exit 2
}
PATH=$ENVIRONMENT/bin:$PATH
export PATH RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
# Metrics ports ask for no token. Each node's is disabled. Ray cannot disable the head's two, so they
# get an invalid port number.
export RAY_enable_metrics_collection=0 AUTOSCALER_METRIC_PORT=65536 DASHBOARD_METRIC_PORT=65536
unset RAY_ADDRESS
# Otherwise Ray would send the token through a proxy, even to this machine.
DIRECT=${no_proxy:-},${NO_PROXY:-},localhost,127.0.0.1,::1
export no_proxy=$DIRECT NO_PROXY=$DIRECT
# There is no dashboard. By default Ray would send the token to whatever listens on port 8265.
export RAY_API_SERVER_ADDRESS=http://127.0.0.1:1
# Ray reports even that its usage statistics are off.
export RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:1

# Each job has its own token, because other users of the nodes reach its ports. All nodes can read the
# file. It is made before Ray would make one that everybody can read.
RAY_AUTH_TOKEN_PATH=$(
    umask 077
    mkdir -p "$HOME/.ray"
    mktemp "$HOME/.ray/job-${SLURM_JOB_ID:?this is for sbatch}-XXXXXX"
)
export RAY_AUTH_TOKEN_PATH
# Short, because it holds sockets, and different for each job on a node.
RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID
export RAY_TMPDIR
(umask 077 && python -I -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH")

mapfile -t NODES < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
HEAD=${NODES[0]}
ADDRESS=$(srun --nodes=1 --ntasks=1 --nodelist="$HEAD" hostname --ip-address | awk '{print $1}')
# Jobs with their heads on the same node need different ports.
PORT=$((20000 + SLURM_JOB_ID % 20000))
STEPS=()
WORK= # the process that the script waits for

finish() {
    local code=$?
    trap - EXIT
    # The study saves what it has before its nodes end.
    [ -z "$WORK" ] || { kill "$WORK" 2>/dev/null && wait "$WORK"; } || true
    # End the nodes while the token still exists.
    [ ${#STEPS[@]} -eq 0 ] || kill "${STEPS[@]}" 2>/dev/null || true
    wait || true
    rm -f "$RAY_AUTH_TOKEN_PATH"
    exit "$code"
}
trap finish EXIT
trap 'exit 143' TERM

start() { # start NODE OPTION…
    local node=$1
    shift
    # Ray runs a module with `python -m`, which imports from the working directory.
    srun --nodes=1 --ntasks=1 --cpus-per-task="$CPUS" --overlap --nodelist="$node" --chdir=/ \
        ray start --block --num-cpus="$CPUS" --disable-usage-stats "$@" &
    STEPS+=($!)
}

start "$HEAD" --head --node-ip-address="$ADDRESS" --port="$PORT" --include-dashboard=false
for node in "${NODES[@]:1}"; do
    start "$node" --address="$ADDRESS:$PORT"
done

# Bash runs a trap while it waits for a background process, but after one in the foreground.
run() { # run COMMAND…
    "$@" <&0 &
    WORK=$!
    wait "$WORK"
    WORK=
}

# Fail if a node is missing; a study on fewer would only be slower, without a message.
run python -I - "$ADDRESS:$PORT" "${#NODES[@]}" <<'PYTHON'
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
        sys.exit(f"{here} of {wanted} nodes joined within 300 s" if here else str(reason))
    time.sleep(1)
PYTHON

# --signal above tells this script about the time limit while the study can still stop cleanly.
run srun --nodes=1 --ntasks=1 --overlap --nodelist="$HEAD" \
    raytune-yesno "$@" --address "$ADDRESS:$PORT"
