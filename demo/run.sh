#!/usr/bin/env bash
# From nothing to fused images: synthetic pairs fused by Lite, which comes trained; then a narrow OCCO trained on them, panels
# and a table of metrics. Where data/samples/MSRS has real pairs, Lite fuses those, too.
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

step '1/6 synthetic pairs in the layout of FMB'
python tools/dataset_converters/synthetic.py "$MMFUSION_DATA/FMB" --layout fmb --num 64 --num-test 8 --size 240 320

step '2/6 fuse them by Lite, which needs no training'
python tools/fuse.py lite --vi "$TEST/Visible" --ir "$TEST/Infrared" --out "$OUT/lite" --overwrite
REAL=data/samples/MSRS
if [[ -d $REAL/vi && -d $REAL/ir ]]; then
    python tools/fuse.py lite --vi "$REAL/vi" --ir "$REAL/ir" --out "$OUT/lite_real" --overwrite
fi

step '3/6 train a narrow OCCO'
if [[ -f $CHECKPOINT ]]; then
    echo "$CHECKPOINT is there already"
else
    python tools/train.py "$CONFIG" --work-dir "$OUT/train" --resume
fi

step '4/6 test it, and draw panels'
python tools/test.py "$CONFIG" "$CHECKPOINT" --work-dir "$OUT/test" \
    --cfg-options test_evaluator.outfile="$OUT/metrics/fused_per_image.csv"
# Each test has a folder named by its time; the newest comes last.
runs=("$OUT"/test/*/panels/test)
mkdir -p "$OUT/panels"
cp "${runs[-1]}"/*.png "$OUT/panels/"

step '5/6 fuse the test pairs as any folder of images, and average them for comparison'
python tools/fuse.py "$CONFIG" "$CHECKPOINT" --vi "$TEST/Visible" --ir "$TEST/Infrared" --out "$OUT/fused" --overwrite
python demo/average_pairs.py --vi "$TEST/Visible" --ir "$TEST/Infrared" --out "$OUT/average"

step '6/6 compare'
python tools/evaluate.py --vi "$TEST/Visible" --ir "$TEST/Infrared" \
    --fused Visible="$TEST/Visible" Infrared="$TEST/Infrared" Average="$OUT/average" \
    Lite="$OUT/lite" OCCO-demo="$OUT/fused" \
    --metrics EN,SF,AG,CC,SCD,VIF --out "$OUT/metrics" | tee "$OUT/table.tmp"
mv "$OUT/table.tmp" "$OUT/metrics/table.txt"

cat <<END

Done in $((SECONDS - started)) s. Lite was trained on real pairs and never saw these scenes. The other network is narrow, its contrastive loss looks through a RANDOM VGG19, and it has seen
64 small synthetic pairs: this shows that everything runs, not what OCCO can do.
  panels (visible, infrared, fused)   $OUT/panels/
  fused by Lite                       $OUT/lite/ (real pairs: $OUT/lite_real/)
  fused by the narrow OCCO            $OUT/fused/
  metrics: table, values, report      $OUT/metrics/table.txt, metrics.csv, report.html
  checkpoint, log                     $CHECKPOINT, $OUT/train/
END
