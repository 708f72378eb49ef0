#!/usr/bin/env bash
# Fetches the server and builds the service into target/.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p target/server
npm install --silent --no-audit --no-fund --ignore-scripts --prefix target/server @restatedev/restate-server@1.7.12
cargo build --quiet --release --target-dir target
