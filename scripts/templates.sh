#!/usr/bin/env bash
# Checks the templates in the folder templates, and registers them on a chain.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
	cat <<-HELP
		usage: scripts/templates.sh [--url URL] --suri URI [--templates DIR]
		       scripts/templates.sh [--url URL] --dry-run [--templates DIR]
		       scripts/templates.sh --check [--templates DIR]

		Checks all templates against the limits of the chain, compares them with the chain's list, and sets
		those that are new or differ. What is the same, and templates of other numbers, are left alone. Prints a
		line for each template.

		  --url URL         RPC address of a node (default: KAISAR_URL, or ws://127.0.0.1:9944)
		  --suri URI        secret of the account that holds sudo, e.g. //Alice on a development chain (default:
		                    KAISAR_SURI, which keeps it out of the list of processes)
		  --dry-run         send nothing; print each template that would be set, and its encoded call, which
		                    governance can make on a chain without sudo: Orders.set_template is for root alone
		  --check           connect to no chain; check the files, and print what a chain would store of them
		  --templates DIR   folder of the templates (default: that of this repository)

		Exit codes: 0 done; 1 a file has faults, or the chain refused; 2 the arguments are wrong.
	HELP
}

for argument in "$@"; do
	case "$argument" in
		-h | --help) usage && exit 0 ;;
	esac
done
has_nodejs || die "Node.js is not installed" "run: scripts/setup.sh"
[[ -d "$KAISAR_ROOT/e2e/node_modules/@polkadot/api" ]] ||
	die "the npm packages are not installed" "run: scripts/setup.sh, or: cd e2e && npm ci --ignore-scripts"
trap - EXIT ERR
exec node "$KAISAR_ROOT/e2e/templates.mjs" "$@"
