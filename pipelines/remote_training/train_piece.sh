#!/usr/bin/env bash
# One piece of training on a machine that has torch, numpy, OpenCV and safetensors, from the folders
# that `vidswap train pack -o PACKS` made; the weights go to $OUT in files of at most 15 MiB.
#
#   pipelines/remote_training/train_piece.sh PACKS MINUTES [CONFIG]
#
# Worker processes draw the batches, on a GPU by default as many as there are cores but two;
# WORKERS=N sets their number.
# A second piece on the same machine goes on exactly; elsewhere `vidswap train import-state` does.
set -euo pipefail
packs=$1 minutes=$2
work=$packs/work
export PYTHONPATH="$work/site${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python3}

"$python" - "$packs" "$work" <<'PYTHON'
import sys
from pathlib import Path

packs, work = map(Path, sys.argv[1:])
for pack in sorted(packs.glob("pack-*")):  # before the packages in them can be imported
    for path in sorted(pack.rglob("*")):
        place = work / path.relative_to(pack)
        if path.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path.resolve())
PYTHON

encoder=()
[ ! -e "$work/second-encoder.tflite" ] || encoder=(--second-encoder "$work/second-encoder.tflite")
[ -e "$work/run/state.pt" ] || "$python" -m vidswap train import-state "$work/weights" --run "$work/run"
"$python" -m vidswap train apgan --faces "$work/faces" --run "$work/run" --cache "$work/cache" \
    --config "${3:-$work/config.json}" "${encoder[@]}" ${WORKERS:+--workers "$WORKERS"} --resume --minutes "$minutes"
"$python" -m vidswap train export-state "$work/run" -o "$OUT"
[ ! -e "$work/run/log.jsonl" ] || cp "$work/run/log.jsonl" "$OUT"
