#!/usr/bin/env bash
# Sets up and runs every check: format, lints, prose, build, documentation, unit and property tests,
# end-to-end tests.
# shellcheck source=scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
# shellcheck source=scripts/tests.sh
source "$(dirname "${BASH_SOURCE[0]}")/tests.sh"

usage() {
	cat <<-HELP
		usage: scripts/test.sh [--no-setup] [STEP …]

		Sets up this machine and runs every check, or only the named ones:
		  fmt      cargo fmt --check
		  shell    shellcheck of the scripts
		  prose    rules for comments and documentation: openings, widths, links, names, commands, spelling
		  ptx      comparison of the committed CUDA code with the compiled kernels, for every kind of GPU
		  build    the whole workspace: node, agent, tests
		  clippy   cargo clippy, warnings are errors
		  doc      the documentation of all crates, warnings are errors
		  unit     unit and property tests of all crates, and the examples in the documentation
		  e2e      end-to-end tests of the node and agent binaries, driven with @polkadot/api

		  --no-setup   do not check packages and toolchains

		Long runs (more cases, repetitions, fuzzing) are in scripts/soak.sh.

		environment:
		  KAISAR_TARGET_DIR      folder for builds (default: $KAISAR_CACHE/target)
		  KAISAR_MESA            folder of the Mesa for the tensor kernels (default: $KAISAR_CACHE/mesa-26.1)
		  KAISAR_DEBIAN_MIRROR   mirror of Debian's packages (default: this machine's, or deb.debian.org)
		  E2E_FILTER             run only the end-to-end files whose name contains this
	HELP
}

SETUP=yes
STEPS=()
for argument in "$@"; do
	case "$argument" in
		-h | --help) usage && exit 0 ;;
		--no-setup) SETUP=no ;;
		fmt | shell | prose | ptx | build | clippy | doc | unit | e2e) STEPS+=("$argument") ;;
		*) die "unknown argument: $argument" "scripts/test.sh --help" ;;
	esac
done
wanted() { [[ ${#STEPS[@]} -eq 0 || " ${STEPS[*]} " == *" $1 "* ]]; }

LOGS=$(mktemp -d)
export LOGS
RESULT=1
finish() {
	stop_heartbeat
	local passed=0 failed=0 line
	# Cargo prints `test result: ok. 12 passed; 0 failed; …`, Node.js `# pass 12`.
	while read -r line; do
		case "$line" in
			'test result:'*)
				passed=$((passed + $(sed -E 's/.* ([0-9]+) passed.*/\1/' <<<"$line")))
				failed=$((failed + $(sed -E 's/.* ([0-9]+) failed.*/\1/' <<<"$line")))
				;;
			'# pass '*) passed=$((passed + ${line##* })) ;;
			'# fail '*) failed=$((failed + ${line##* })) ;;
		esac
	done < <(cat "$LOGS"/*.log 2>/dev/null | grep -aE '^(test result:|# (pass|fail) )')
	rm -rf "$LOGS"
	printf '\n%ssummary%s\n' "$C_BOLD" "$C_END"
	if ((${#SUMMARY[@]})); then printf '  %s\n' "${SUMMARY[@]}"; fi
	if [[ -n "$STEP" ]]; then printf '  %-36s %sFAILED%s\n' "$STEP" "$C_RED" "$C_END"; fi
	printf '  %-36s %s\n' 'all' "$(elapsed $SECONDS)"
	if ((RESULT && failed == 0)); then failed=1; fi
	printf '%s passed, %s failed\n' "$passed" "$failed"
}
trap finish EXIT

shell_check() {
	(cd "$KAISAR_ROOT" && shellcheck -x scripts/*.sh docker/*.sh .ci/run && for file in docker/*.json docker/*/*.json; do
		[[ ! -e "$file" ]] || node -e 'JSON.parse(require("node:fs").readFileSync(process.argv[1]))' "$file"
	done)
}

prose_check() {
	(cd "$KAISAR_ROOT" && node scripts/prose.mjs &&
		node --test --test-reporter=tap scripts/prose.test.mjs | tee "$LOGS/prose.log")
}

format_check() { (cd "$KAISAR_ROOT" && cargo fmt --all -- --check); }

ptx_check() { "$KAISAR_ROOT/scripts/ptx.sh" check; }

clippy_check() { (cd "$KAISAR_ROOT" && cargo clippy --workspace --all-targets --locked -- -D warnings); }

doc_check() { "$KAISAR_ROOT/scripts/doc.sh"; }

if [[ $SETUP == yes ]]; then
	setup_all "${TEST_PACKAGES[@]}"
	if wanted unit; then step 'set-up: Mesa' '' install_mesa; fi
fi
if wanted fmt; then step 'format' 'run: cargo fmt --all' format_check; fi
if wanted shell; then step 'shell scripts' 'fix the findings of shellcheck' shell_check; fi
if wanted prose; then step 'prose' 'mend each line that it names: node scripts/prose.mjs --help' prose_check; fi
if wanted ptx; then step 'CUDA kernels' 'run scripts/ptx.sh, and commit its output' ptx_check; fi
if wanted build; then step 'build' "$BUILD_ADVICE" build_all; fi
if wanted clippy; then step 'clippy' 'fix the findings of clippy; warnings are errors here' clippy_check; fi
if wanted doc; then step 'documentation' 'fix the warnings of rustdoc; warnings are errors here' doc_check; fi
if wanted unit; then step 'unit and property tests' 'run the failed test alone: cargo test -p CRATE NAME' unit_tests; fi
if wanted e2e; then step 'end-to-end tests' 'run the failed file alone: E2E_FILTER=NAME scripts/test.sh --no-setup e2e' e2e_tests; fi
RESULT=0
say 'every check passed'
