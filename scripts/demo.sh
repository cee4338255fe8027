#!/usr/bin/env bash
# The main job on the embedded default: store a run, verify it, fetch one file back and compare it.
# Usage: scripts/demo.sh RUN_DIR HOME
set -euo pipefail

run_dir=$1
export ARTIFACTSTORE_HOME=$2
rm -rf "$ARTIFACTSTORE_HOME"
mkdir -p "$(dirname "$ARTIFACTSTORE_HOME")"

echo "\$ artifactstore guide-board ingest $run_dir"
receipt=$(artifactstore guide-board ingest "$run_dir")
echo "$receipt"
package_id=$(python -c 'import json, sys; print(json.load(sys.stdin)["package_id"])' <<<"$receipt")

echo "\$ artifactstore verify $package_id"
artifactstore verify "$package_id"

fetched=$ARTIFACTSTORE_HOME/report.md
echo "\$ artifactstore get $package_id reports/report.md -o $fetched"
artifactstore get "$package_id" reports/report.md -o "$fetched"
cmp "$run_dir/reports/report.md" "$fetched"
echo "reports/report.md came back with the same bytes; the store is in $ARTIFACTSTORE_HOME"
