#!/usr/bin/env bash
# run.sh DATABASE_URL AT_ONCE WARM_UP_S MEASURED_S: becomes the peer, which measures itself and prints one line of JSON.
set -euo pipefail
cd "$(dirname "$0")"
exec target/python/bin/python journey.py "$@"
