#!/usr/bin/env bash
# Paths, exports, messages and steps of the scripts, which source this file.
set -Eeuo pipefail

KAISAR_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
KAISAR_CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kaisar"
# Builds are outside of the checkout, so that a fresh clone can reuse those of an earlier one.
export CARGO_TARGET_DIR="${KAISAR_TARGET_DIR:-$KAISAR_CACHE/target}"
export CARGO_TERM_PROGRESS_WHEN="${CARGO_TERM_PROGRESS_WHEN:-auto}"
# Folder of the Vulkan driver on which the tensor kernels are tested.
export KAISAR_MESA="${KAISAR_MESA:-$KAISAR_CACHE/mesa-26.1}"
# Version of Node.js for systems whose own is too old. A library of the browser tests needs 20.
KAISAR_NODEJS="20.20.2"
KAISAR_NODEJS_MIN="20.0"

# --- messages -----------------------------------------------------------------------------------

if [[ -t 1 && -z "${NO_COLOR:-}" ]]; then
	C_BOLD=$'\e[1m' C_DIM=$'\e[2m' C_RED=$'\e[31m' C_GREEN=$'\e[32m' C_END=$'\e[0m'
else
	C_BOLD='' C_DIM='' C_RED='' C_GREEN='' C_END=''
fi

ADVICE=''      # advice if the running command fails
STEP=''        # the running step
HEARTBEAT=''   # process that reports that a step is still running
SUMMARY=()     # one line for each step

# Prints seconds as "1 h 02 min 03 s", "2 min 03 s" or "3 s".
elapsed() {
	local s=$1
	if ((s >= 3600)); then
		printf '%d h %02d min %02d s' $((s / 3600)) $((s % 3600 / 60)) $((s % 60))
	elif ((s >= 60)); then
		printf '%d min %02d s' $((s / 60)) $((s % 60))
	else
		printf '%d s' "$s"
	fi
}

say() { printf '%s==>%s %s%s%s\n' "$C_GREEN" "$C_END" "$C_BOLD" "$*" "$C_END"; }
note() { printf '    %s\n' "$*"; }

# Ends the script with an error: `die MESSAGE [ADVICE]`.
die() {
	stop_heartbeat
	printf '\n%serror:%s %s\n' "$C_RED" "$C_END" "$1" >&2
	if [[ -n "${2:-}" ]]; then printf 'advice: %s\n' "$2" >&2; fi
	trap - ERR
	exit 1
}

stop_heartbeat() {
	if [[ -n "$HEARTBEAT" ]]; then
		kill "$HEARTBEAT" 2>/dev/null || true
		wait "$HEARTBEAT" 2>/dev/null || true
		HEARTBEAT=''
	fi
}

# Reports every minute that a step is still running.
start_heartbeat() {
	local name=$1 began=$SECONDS
	(
		trap - ERR EXIT
		# The sleep must not outlive the script or hold its output open.
		trap 'kill %1 2>/dev/null; exit 0' TERM INT
		while true; do
			sleep 60 >/dev/null 2>&1 &
			wait $! || exit 0
			printf '    %s… %s: %s so far%s\n' "$C_DIM" "$name" "$(elapsed $((SECONDS - began)))" "$C_END"
		done
	) &
	HEARTBEAT=$!
}

# Runs a command as a named step: `step NAME ADVICE COMMAND…`.
step() {
	local name=$1 began=$SECONDS
	STEP=$name ADVICE=$2
	shift 2
	say "$name"
	start_heartbeat "$name"
	"$@"
	stop_heartbeat
	SUMMARY+=("$(printf '%-36s %s' "$name" "$(elapsed $((SECONDS - began)))")")
	note "done in $(elapsed $((SECONDS - began)))"
	STEP='' ADVICE=''
}

on_error() {
	local code=$1 line=$2
	trap - ERR
	# In a subshell, the script itself prints the message.
	if ((BASH_SUBSHELL)); then exit "$code"; fi
	stop_heartbeat
	printf '\n%serror:%s %s failed (exit code %s, %s line %s)\n' \
		"$C_RED" "$C_END" "${STEP:-the set-up}" "$code" "${0##*/}" "$line" >&2
	if [[ -n "$ADVICE" ]]; then printf 'advice: %s\n' "$ADVICE" >&2; fi
	exit "$code"
}
trap 'on_error $? $LINENO' ERR
trap stop_heartbeat EXIT

# --- Node.js and the build ----------------------------------------------------------------------

# Succeeds if Node.js is installed and new enough, and npm as well.
has_nodejs() {
	command -v node >/dev/null && command -v npm >/dev/null || return 1
	local have
	have=$(node --version 2>/dev/null) || return 1
	[[ "$(printf '%s\n' "$KAISAR_NODEJS_MIN" "${have#v}" | sort -V | head -n 1)" == "$KAISAR_NODEJS_MIN" ]]
}

# Adds the Node.js that `install_nodejs` fetched to the path, if the system's own is too old.
use_cached_nodejs() {
	local bin
	has_nodejs && return
	for bin in "$KAISAR_CACHE/nodejs-$KAISAR_NODEJS"/node_modules/*/bin; do
		if [[ -x "$bin/node" ]]; then export PATH="$bin:$PATH"; fi
	done
}

use_cached_nodejs

# shellcheck disable=SC2034 # used by the scripts that source this one
BUILD_ADVICE='read the first error above. If a process was killed, memory was short: set CARGO_BUILD_JOBS=1. If a crate could not be fetched, check the network.'

# Builds all targets of the workspace, which the checks and the demonstration need. All builds use the same
# flags and features, since cargo would otherwise build most of the workspace again.
build_all() {
	(cd "$KAISAR_ROOT" && cargo build --workspace --all-targets --locked)
}
