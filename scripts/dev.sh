#!/usr/bin/env bash
# Sets up, builds, starts a development chain with a provider and three checkers, and tells the main
# job as it happens.
# shellcheck source=scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

usage() {
	cat <<-HELP
		usage: scripts/dev.sh [--once] [--rpc-port PORT] [--no-setup] [--no-build]

		From a clone to claimed rewards: sets the machine up, builds the node and the agent, starts a
		development chain (a block a second; a provider and three checkers on this machine), registers
		this machine as a worker and tells what happens: round, attestation, votes, Online, census,
		proved time, epoch, rewards. Then the chain runs on until Ctrl-C.

		  --once            end after the story, with exit code 0 if all of it happened
		  --rpc-port PORT   the node's RPC port (default 9944; 0 for any)
		  --no-setup        do not look at packages and toolchains
		  --no-build        take the binaries that are there

		environment:
		  KAISAR_TARGET_DIR   where builds go (default: $KAISAR_CACHE/target)
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
			[[ "${2:-}" =~ ^[0-9]+$ ]] || die "--rpc-port takes a number"
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
		die "$CARGO_TARGET_DIR/debug/$binary is missing" "run without --no-build"
done

say 'the story'
trap - EXIT ERR
# The story starts the node, and ends it with all that it started.
exec node "$KAISAR_ROOT/e2e/story.mjs" --bin-dir "$CARGO_TARGET_DIR/debug" ${STORY[@]+"${STORY[@]}"}
