#!/usr/bin/env bash
# Compiles the peer and fetches its libraries into target/.
set -euo pipefail
cd "$(dirname "$0")"
mvn --quiet --batch-mode compile dependency:copy-dependencies -DoutputDirectory=target/libs
