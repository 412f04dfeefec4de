#!/usr/bin/env bash
# All that is to be known of a GPU, in at most four minutes; the table and the JSON go to $OUT.
#
#   pipelines/benchmarks/gpu_check.sh [--dry] [--only CHECK...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec "${PYTHON:-python3}" -m pipelines.benchmarks.gpu_check -o "${OUT:-runs/gpu_check}" "$@"
