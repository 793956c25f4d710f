#!/usr/bin/env bash
# Sets up, builds, starts a development chain with a provider and three checkers, and reports the steps from
# a worker's registration to its rewards as they happen.
# shellcheck source=scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

usage() {
	cat <<-HELP
		usage: scripts/dev.sh [--once] [--rpc-port PORT] [--no-setup] [--no-build]

		From a clone to claimed rewards: sets up this machine, builds the node and the agent, starts a
		development chain (a block a second; a provider and three checkers on this machine), registers
		this machine as a worker, and reports each step: round, attestation, votes, Online, census,
		proved time, epoch, rewards. Then the chain runs until Ctrl-C.

		  --once            end after the rewards are claimed, with exit code 0 if every step succeeded
		  --rpc-port PORT   RPC port of the node (default 9944; 0 for any)
		  --no-setup        do not check packages and toolchains
		  --no-build        use the existing binaries

		environment:
		  KAISAR_TARGET_DIR   folder for builds (default: $KAISAR_CACHE/target)
	HELP
}

SETUP=yes
BUILD=yes
STORY=()
while (($#)); do
	case "$1" in
		-h | --help) usage && exit 0 ;;
		--once) STORY+=(--once) ;;
		--rpc-port)
			[[ "${2:-}" =~ ^[0-9]+$ ]] || die "--rpc-port takes a number" "scripts/dev.sh --help"
			STORY+=(--rpc-port "$2")
			shift
			;;
		--no-setup) SETUP=no ;;
		--no-build) BUILD=no ;;
		*) die "unknown argument: $1" "scripts/dev.sh --help" ;;
	esac
	shift
done

if [[ $SETUP == yes ]]; then setup_all; fi
if [[ $BUILD == yes ]]; then step 'build' "$BUILD_ADVICE" build_all; fi
for binary in kaisar-node kaisar-agent; do
	[[ -x "$CARGO_TARGET_DIR/debug/$binary" ]] ||
		die "$CARGO_TARGET_DIR/debug/$binary does not exist" "run without --no-build"
done

say 'from registration to rewards'
trap - EXIT ERR
# The program starts the node, and ends it and all its child processes.
exec node "$KAISAR_ROOT/e2e/story.mjs" --bin-dir "$CARGO_TARGET_DIR/debug" ${STORY[@]+"${STORY[@]}"}
