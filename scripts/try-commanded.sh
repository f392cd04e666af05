#!/usr/bin/env bash
# Tries examples/commanded against `annals dev`, where Elixir is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v elixir >/dev/null; then
  echo "skipped: Elixir is not installed (Debian: apt-get install elixir)"
  exit 0
fi
annals=${ANNALS:-target/debug/annals}
[ -x "$annals" ] || cargo build --locked --bin annals
port=${PORT:-$((20000 + RANDOM % 20000))}
data=$(mktemp -d)
"$annals" dev --port "$port" --data "$data" >"$data/log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$data"' EXIT
url="http://localhost:$port/api"
for _ in $(seq 100); do
  curl -sf -X PUT "$url/tenants/acme" -H 'content-type: application/json' -d '{}' >/dev/null && break
  sleep 0.2
done
ANNALS_URL="$url" elixir examples/commanded/try.exs || { cat "$data/log"; exit 1; }
