#!/usr/bin/env bash
# From nothing to fused images: synthetic pairs, a narrow OCCO trained on them, panels and a table of metrics.
# `make demo` calls this with the virtual environment's programs first on PATH. It can be interrupted and repeated: scenes
# that are written stay, training goes on from its last epoch, and only what is quick is done anew. `rm -r demo/output`
# begins from nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

OUT=demo/output
CONFIG=configs/occo/occo_demo.py
CHECKPOINT=$OUT/train/epoch_9.pth
export MMFUSION_DATA=$OUT/data
TEST=$MMFUSION_DATA/FMB/test
# Threads that wait in a loop for each other bring a busy machine to a crawl.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

started=$SECONDS
step() {
    printf '\n=== %s (%d s)\n' "$1" $((SECONDS - started))
}

step '1/5 synthetic pairs in the layout of FMB'
python tools/dataset_converters/synthetic.py "$MMFUSION_DATA/FMB" --layout fmb --num 64 --num-test 8 --size 240 320

step '2/5 train a narrow OCCO'
if [[ -f $CHECKPOINT ]]; then
    echo "$CHECKPOINT is there already"
else
    python tools/train.py "$CONFIG" --work-dir "$OUT/train" --resume
fi

step '3/5 test it, and draw panels'
python tools/test.py "$CONFIG" "$CHECKPOINT" --work-dir "$OUT/test" \
    --cfg-options test_evaluator.outfile="$OUT/metrics/fused_per_image.csv"
# Each test has a folder named by its time; the newest comes last.
runs=("$OUT"/test/*/panels/test)
mkdir -p "$OUT/panels"
cp "${runs[-1]}"/*.png "$OUT/panels/"

step '4/5 fuse the test pairs as any folder of images, and average them for comparison'
python tools/fuse.py "$CONFIG" "$CHECKPOINT" --vi "$TEST/Visible" --ir "$TEST/Infrared" --out "$OUT/fused" --overwrite
python demo/average_pairs.py --vi "$TEST/Visible" --ir "$TEST/Infrared" --out "$OUT/average"

step '5/5 compare'
python tools/evaluate.py --vi "$TEST/Visible" --ir "$TEST/Infrared" \
    --fused Visible="$TEST/Visible" Infrared="$TEST/Infrared" Average="$OUT/average" OCCO-demo="$OUT/fused" \
    --metrics EN,SF,AG,CC,SCD,VIF --out "$OUT/metrics" | tee "$OUT/table.tmp"
mv "$OUT/table.tmp" "$OUT/metrics/table.txt"

cat <<END

Done in $((SECONDS - started)) s. The network is narrow, its contrastive loss looks through a RANDOM VGG19, and it has seen
64 small synthetic pairs: this shows that everything runs, not what OCCO can do.
  panels (visible, infrared, fused)   $OUT/panels/
  fused images                        $OUT/fused/
  metrics: table, values, report      $OUT/metrics/table.txt, metrics.csv, report.html
  checkpoint, log                     $CHECKPOINT, $OUT/train/
END
