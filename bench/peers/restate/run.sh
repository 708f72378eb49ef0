#!/usr/bin/env bash
# run.sh FOLDER INGRESS ADMIN NODE SERVICE: server and service on these ports of loopback, data in the folder. It
# ends when its standard input does, and so with whoever started it.
set -euo pipefail
cd "$(dirname "$0")"
readonly FOLDER=$1 INGRESS=$2 ADMIN=$3 NODE=$4 SERVICE=$5

end() {
    kill -KILL "$server" "$service" 2>/dev/null || true
    wait
}

export RESTATE_BASE_DIR=$FOLDER RESTATE_LISTEN_MODE=tcp RESTATE_DISABLE_TELEMETRY=true RESTATE_LOG_FILTER=warn
export RESTATE_CLUSTER_NAME=peers RESTATE_NODE_NAME=one
export RESTATE_BIND_ADDRESS=127.0.0.1:$NODE RESTATE_ADVERTISED_ADDRESS=http://127.0.0.1:$NODE/
export RESTATE_ADMIN__BIND_ADDRESS=127.0.0.1:$ADMIN RESTATE_INGRESS__BIND_ADDRESS=127.0.0.1:$INGRESS
# The server itself: the command of the package is a script that would leave it behind.
target/server/node_modules/@restatedev/restate-server-linux-*/bin/restate-server --no-logo &
server=$!
target/release/restate-peer "127.0.0.1:$SERVICE" &
service=$!
trap end EXIT
# The server takes the service as soon as both answer.
until curl --silent --fail --output /dev/null "127.0.0.1:$ADMIN/deployments" \
    --header 'content-type: application/json' --data "{\"uri\":\"http://127.0.0.1:$SERVICE\"}"; do
    kill -0 "$server"
    kill -0 "$service"
    sleep 0.2
done
cat >/dev/null
