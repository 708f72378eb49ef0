#!/usr/bin/env bash
# run.sh BROKERS INPUT OUTPUT APPLICATION STATE_FOLDER COMMAND_SCHEMA EVENT_SCHEMA EVENT_SCHEMA_ID: becomes the peer; ends on SIGTERM.
set -euo pipefail
cd "$(dirname "$0")"
exec java -Xms1g -Xmx1g -XX:+UseG1GC -cp 'target/classes:target/libs/*' peers.Tally "$@"
