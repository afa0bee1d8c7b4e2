#!/usr/bin/env bash
# What needs a GPU to be known, in steps of under ten minutes each, on a machine without a network.
#
#   bash benchmarks/gpu.sh                      every step in turn
#   bash benchmarks/gpu.sh tests train-occo     some of them
#   REDUCED=1 bash benchmarks/gpu.sh            each in its smallest form, on a CPU too
#
#   tests          the tests marked `cuda`
#   steps          a training step of the library's methods: float32, AMP, channels last, compiled; losses against float32
#   inference      the time of every published method, and of ours, on 640×480
#   public         the same beside the authors' code, which CODE holds (see benchmarks/zoo_speed.py)
#   nccl           a training in one process of torchrun
#   train-NAME     occo, seafusion, mgfusion or gffusion on public pairs; called again, it goes on
#   weights        the weights of these trainings in half precision, at most 16 MiB each
#
# OUT (work_dirs/gpu) gets a log of each step, the trainings and the weights. MMFUSION_DATA is the folder of the pairs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD:${PYTHONPATH:-}"
OUT=${OUT:-work_dirs/gpu}
PYTHON=${PYTHON:-python}
REDUCED=${REDUCED:-}
LIMIT=${LIMIT:-540} # seconds of a training at one call
mkdir -p "$OUT"

declare -A CONFIGS=(
    [occo]=occo/occo_roadscene_vgg16.py
    [seafusion]=seafusion/seafusion_public-pairs.py
    [mgfusion]=mgfusion/mgfusion_wo-prior.py
    [gffusion]=gffusion/gffusion_wo-prior.py
)

tests() {
    if [[ $REDUCED ]]; then
        $PYTHON -m pytest -q -m cuda tests/evaluation/test_specs.py -k 'cuda and EN'
    else
        $PYTHON -m pytest -q -m cuda
    fi
}

steps() {
    if [[ $REDUCED ]]; then
        $PYTHON benchmarks/training_step.py lite --batch 2 --size 48 --steps 1
    else
        $PYTHON benchmarks/training_step.py --batch 12 --size 256 --compile
    fi
}

inference() {
    local methods shape=(480 640) more=()
    if [[ $REDUCED ]]; then
        methods=lite shape=(48 64) more=(--iterations 1 --warmup 0)
    else
        methods=$($PYTHON -c 'from mmfusion.utils.configs import published; print(*published())')
    fi
    for method in $methods; do
        for amp in '' --amp; do
            $PYTHON tools/analysis_tools/benchmark.py "$method" --shape "${shape[@]}" "${more[@]}" $amp ||
                echo "$method $amp: failed, see above"
        done
    done
}

public() {
    if [[ -z ${CODE:-} ]]; then
        echo 'skipped: set CODE to the folder of the clones that benchmarks/zoo_speed.py names'
    else
        $PYTHON benchmarks/zoo_speed.py --code "$CODE"
    fi
}

nccl() {
    # A narrow network on rendered scenes: no data are needed.
    local options=(train_cfg.max_epochs=2)
    if [[ $REDUCED ]]; then options=(train_cfg.max_epochs=1 train_dataloader.dataset.num=4 val_dataloader.dataset.num=1); fi
    bash tools/dist_train.sh configs/mgfusion/mgfusion_demo-random-clip.py 1 --work-dir "$OUT/nccl" \
        --cfg-options "${options[@]}"
}

train() {
    local name=$1 options=()
    if [[ $REDUCED ]]; then
        # The loop validates once more at its end: on one pair.
        options=(--cfg-options train_cfg.max_iters=2 train_dataloader.batch_size=1 val_dataloader.dataset.indices=1)
    fi
    timeout "$LIMIT" $PYTHON tools/train.py "configs/${CONFIGS[$name]}" --work-dir "$OUT/$name" --resume \
        "${options[@]}" || [[ $? == 124 ]] # the time is over: the next call goes on from the last checkpoint
}

weights() {
    for name in "${!CONFIGS[@]}"; do
        [[ -f $OUT/$name/last_checkpoint ]] || continue
        $PYTHON tools/model_converters/publish_model.py "configs/${CONFIGS[$name]}" \
            "$(cat "$OUT/$name/last_checkpoint")" "$OUT/$name.safetensors"
        if (($(stat -c %s "$OUT/$name.safetensors") > 16 * 2**20)); then
            echo "$name.safetensors is above 16 MiB" >&2
            return 1
        fi
    done
}

run() {
    case $1 in
        train-*)
            if [[ -z ${CONFIGS[${1#train-}]:-} ]]; then
                echo "no training ${1#train-}: ${!CONFIGS[*]}" >&2
                exit 2
            fi
            train "${1#train-}"
            ;;
        tests | steps | inference | public | nccl | weights) "$1" ;;
        *)
            echo "no step $1: tests steps inference public nccl train-occo train-seafusion train-mgfusion train-gffusion weights" >&2
            exit 2
            ;;
    esac
}

if (($# == 0)); then
    set -- tests steps inference public nccl train-seafusion train-gffusion train-mgfusion train-occo weights
fi
failed=()
for step in "$@"; do
    echo "== $step"
    start=$SECONDS
    # A step ends at its first error, and the next one follows. Behind `||` or `if`, bash would ignore errors inside of it.
    set +e
    (set -e; run "$step") 2>&1 | tee "$OUT/$step.log"
    code=$?
    set -e
    ((code == 0)) || failed+=("$step")
    echo "== $step: $((SECONDS - start)) s"
done
if ((${#failed[@]})); then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
