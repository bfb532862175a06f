#!/usr/bin/env bash
# watch.sh [SERVICE [LIMIT]]  Prints the outcomes of all sessions as they become final, with grpcurl alone. SERVICE is the gRPC address of an edge or a router.
set -euo pipefail
grpcurl -plaintext -d "{${2:+\"limit\": $2}}" "${1:-127.0.0.1:50052}" sluice.v1.InspectService/WatchOutcomes
