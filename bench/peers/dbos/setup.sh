#!/usr/bin/env bash
# Installs DBOS and its driver into target/.
set -euo pipefail
cd "$(dirname "$0")"
python3 -m venv target/python
target/python/bin/pip install --quiet dbos==3.4.0 'psycopg[binary]==3.3.9'
