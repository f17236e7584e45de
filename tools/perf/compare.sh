#!/bin/bash
# Runs the benchmarks beside the code at a git ref and in the working tree, taking turns
# so that a busy minute of the machine hits both, and compares them with benchstat.
#
#   compare.sh REF COUNT BENCH PACKAGES [BENCHTIME]
set -eu -o pipefail

ref=${1:?which git ref to compare with? make microbench-compare BASE=REF}
count=${2:-6}
bench=${3:-.}
read -r -a packages <<<"${4:-./pkg/...}"
each=${5:-1s}

here=$(git rev-parse --show-toplevel)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/base"
git -C "$here" archive "$ref" | tar -x -C "$work/base"

run() { # in DIR, appending to FILE
	(cd "$1" && go test -run '^$' -bench "$bench" -benchmem -count 1 -benchtime "$each" "${packages[@]}" 2>&1) |
		{ grep -E '^(goos|goarch|pkg|cpu|Benchmark)' || true; } >>"$2"
}

for ((i = 1; i <= count; i++)); do
	echo "round $i of $count" >&2
	run "$work/base" "$work/base.txt"
	run "$here" "$work/here.txt"
done
go tool -modfile="$here/tools/perf/go.mod" benchstat "base=$work/base.txt" "here=$work/here.txt"
