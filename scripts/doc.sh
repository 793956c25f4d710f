#!/usr/bin/env bash
# Builds the documentation of all crates, with a front page that leads through them.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
	cat <<-HELP
		usage: scripts/doc.sh

		Builds the documentation of all crates of the workspace; a warning is an error. Its front page is that of
		the runtime, which leads through the crates.

		environment:
		  KAISAR_TARGET_DIR   folder for builds, with the documentation in doc/ (default: $KAISAR_CACHE/target)
	HELP
}

main() {
	case "${1:-}" in
		-h | --help) usage && exit 0 ;;
		'') ;;
		*) die "unknown argument: $1" "scripts/doc.sh --help" ;;
	esac
	# Internal items have their pages, too, so links to them lead somewhere.
	(cd "$KAISAR_ROOT" && RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --workspace --no-deps --document-private-items --locked)
	local front="$CARGO_TARGET_DIR/doc/index.html"
	printf '<!doctype html>\n<meta http-equiv="refresh" content="0; url=kaisar_runtime/index.html">\n<title>Kaisar</title>\n' >"$front"
	note "$front"
}

main "$@"
