#!/usr/bin/env bash
# usage: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of tools/test.py]
# One process a GPU; on a machine without GPUs the processes use gloo on the CPU.
# NNODES, NODE_RANK, PORT and MASTER_ADDR may be set for several machines.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2s/# //p' "$0" >&2; exit 2; }
CONFIG=$1
CHECKPOINT=$2
PROCESSES=$3
PYTHONPATH="$(dirname "$0")/..":${PYTHONPATH:-} torchrun \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
