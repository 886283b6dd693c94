#!/usr/bin/env bash
# Measure Diptych on one GPU, without a network, in under 9 minutes:
#   benchmarks/gpu_report.sh DIR                 # writes JSON and PNG files into DIR
#   benchmarks/gpu_report.sh DIR --device cpu    # rehearses every step at small sizes
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
exec "$python" benchmarks/gpu_report.py "$@"
