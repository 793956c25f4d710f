#!/usr/bin/env bash
# Runs long tests, each for a given time: more cases of the property tests, repetitions of the end-to-end
# tests, and fuzzing. They are not part of test.sh; each finding becomes a test there.
# shellcheck source=scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
# shellcheck source=scripts/tests.sh
source "$(dirname "${BASH_SOURCE[0]}")/tests.sh"

usage() {
	cat <<-HELP
		usage: scripts/soak.sh [--no-setup] KIND MINUTES [KIND MINUTES …]

		Runs tests that take too long for test.sh, one kind after the other, each for the given minutes:
		  property   the property tests, with other cases in every pass
		  e2e        the end-to-end tests, repeatedly
		  fuzz       the fuzz targets of agent/fuzz, one after the other, an equal part of the time each

		A pass of property or e2e is cut off at the end of its time, and does not count then. The time of builds
		does not count. The first failure ends the script, which prints how to reproduce it.

		  --no-setup   do not check packages and toolchains

		environment:
		  KAISAR_TARGET_DIR       folder for builds (default: $KAISAR_CACHE/target; for fuzz targets, fuzz beside it)
		  KAISAR_PROPERTY_TIMES   factor by which a pass tries more cases than usual (default: 10)
		  E2E_FILTER              run only the end-to-end files whose name contains this
		  FUZZ_FILTER             run only the fuzz targets whose name contains this
	HELP
}

SETUP=yes
KINDS=()
while (($#)); do
	case "$1" in
		-h | --help) usage && exit 0 ;;
		--no-setup) SETUP=no ;;
		property | e2e | fuzz)
			[[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || die "$1 takes a number of minutes" "scripts/soak.sh --help"
			KINDS+=("$1 $2")
			shift
			;;
		*) die "unknown argument: $1" "scripts/soak.sh --help" ;;
	esac
	shift
done
((${#KINDS[@]})) || die "nothing to run" "scripts/soak.sh --help"

LOGS=$(mktemp -d)
export LOGS
finish() {
	stop_heartbeat
	rm -rf "$LOGS"
	printf '\n%ssummary%s\n' "$C_BOLD" "$C_END"
	if ((${#SUMMARY[@]})); then printf '  %s\n' "${SUMMARY[@]}"; fi
	if [[ -n "$STEP" ]]; then printf '  %-36s %sFAILED%s\n' "$STEP" "$C_RED" "$C_END"; fi
}
trap finish EXIT

# Runs a command until END at the latest. Succeeds if the command succeeds or END is reached.
until_end() {
	local left=$((END - SECONDS)) status=0
	((left > 0)) || return 0
	timeout --kill-after=30 "$left" "$@" || status=$?
	# 124: the time is over; 137: the time is over, and the command had to be killed.
	if ((SECONDS >= END && (status == 124 || status == 137))); then status=0; fi
	return "$status"
}

# Prints the names of the property tests, which are the functions in `proptest!`.
property_tests() {
	find "$KAISAR_ROOT" -name '*.rs' -path '*/src/*' -not -path '*/fuzz/*' -exec awk '
		/^[ \t]*proptest! \{/ { inside = 1; match($0, /[^ \t]/); indent = RSTART }
		inside && match($0, /[^ \t]/) && RSTART == indent && /^[ \t]*\}/ { inside = 0 }
		inside && match($0, /^[ \t]*fn [a-z0-9_]+\(/) { sub(/^[ \t]*fn /, ""); sub(/\(.*/, ""); print }' {} +
}

build_property_tests() { list_tests >"$LOGS/tests"; }

# Runs all property tests in passes, each with another seed.
property_passes() {
	local names passes=0 name folder file
	mapfile -t names < <(property_tests)
	export KAISAR_PROPERTY_TIMES="${KAISAR_PROPERTY_TIMES:-10}"
	# The number of cases for tests without a number of their own.
	export PROPTEST_CASES=$((256 * KAISAR_PROPERTY_TIMES))
	while ((SECONDS < END)); do
		PROPTEST_RNG_SEED=$(od -An -N8 -tu8 /dev/urandom | tr -d ' ')
		export PROPTEST_RNG_SEED
		note "pass $((passes + 1)): $KAISAR_PROPERTY_TIMES times the cases, seed $PROPTEST_RNG_SEED"
		ADVICE="to reproduce it: KAISAR_PROPERTY_TIMES=$KAISAR_PROPERTY_TIMES PROPTEST_CASES=$PROPTEST_CASES"
		ADVICE+=" PROPTEST_RNG_SEED=$PROPTEST_RNG_SEED cargo test -p CRATE NAME"
		while read -r name folder file; do
			# A binary without property tests runs none.
			(cd "$folder" && until_end "$file" --quiet "${names[@]}") >"$LOGS/$name.log" 2>&1 || {
				cat "$LOGS/$name.log"
				return 1
			}
		done <"$LOGS/tests"
		if ((SECONDS < END)); then passes=$((passes + 1)); fi
	done
	note "$passes whole passes over ${#names[@]} property tests"
}

# Runs the end-to-end tests in passes.
e2e_passes() {
	local passes=0
	while ((SECONDS < END)); do
		note "pass $((passes + 1))"
		# The reporter's output is long, and only interesting after a failure.
		until_end "$KAISAR_ROOT/scripts/test.sh" --no-setup e2e >"$LOGS/pass.log" 2>&1 || {
			cat "$LOGS/pass.log"
			return 1
		}
		if ((SECONDS < END)); then passes=$((passes + 1)); fi
	done
	note "$passes whole passes"
}

# Installs cargo-fuzz from crates.io into the cache folder.
install_cargo_fuzz() {
	export PATH="$KAISAR_CACHE/tools/bin:$PATH"
	if ! command -v cargo-fuzz >/dev/null; then
		ADVICE="check that crates.io can be reached, then run: cargo install cargo-fuzz --locked"
		cargo install cargo-fuzz --locked --root "$KAISAR_CACHE/tools"
	fi
	note "$(cargo fuzz --version)"
}

# Runs cargo-fuzz. The stable compiler has its sanitizers, but only allows them with RUSTC_BOOTSTRAP.
fuzz() {
	(cd "$KAISAR_ROOT/agent" && CARGO_TARGET_DIR="${CARGO_TARGET_DIR%/}/../fuzz" RUSTC_BOOTSTRAP=1 cargo fuzz "$@")
}

fuzz_targets() { fuzz list | grep -F "${FUZZ_FILTER:-}"; }

build_fuzz_targets() {
	local target
	for target in $(fuzz_targets); do
		fuzz build "$target"
	done
}

# Runs all fuzz targets. New inputs are kept apart from the corpus, and removed at the end.
fuzz_all() {
	local targets target each found
	mapfile -t targets < <(fuzz_targets)
	each=$(((END - SECONDS) / ${#targets[@]}))
	for target in "${targets[@]}"; do
		ADVICE="the input is in agent/fuzz/artifacts/$target; to reproduce it: RUSTC_BOOTSTRAP=1 cargo fuzz run $target FILE"
		found=$LOGS/$target
		mkdir "$found"
		fuzz run "$target" "$found" "fuzz/corpus/$target" -- -max_total_time="$each" -print_final_stats=1 \
			>"$LOGS/$target.log" 2>&1 || {
			cat "$LOGS/$target.log"
			return 1
		}
		note "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$LOGS/$target.log") runs"
	done
}

if [[ $SETUP == yes ]]; then setup_all; fi
for kind in "${KINDS[@]}"; do
	read -r kind minutes <<<"$kind"
	case "$kind" in
		property) step 'property tests: build' "$BUILD_ADVICE" build_property_tests ;;
		e2e) step 'end-to-end tests: build' "$BUILD_ADVICE" build_all ;;
		fuzz)
			step 'fuzzing: cargo-fuzz' '' install_cargo_fuzz
			step 'fuzzing: build' "$BUILD_ADVICE" build_fuzz_targets
			;;
	esac
	END=$((SECONDS + minutes * 60))
	case "$kind" in
		property) step "property tests, $minutes min" '' property_passes ;;
		e2e) step "end-to-end tests, $minutes min" 'run one file alone: E2E_FILTER=NAME scripts/test.sh --no-setup e2e' e2e_passes ;;
		fuzz) step "fuzzing, $minutes min" '' fuzz_all ;;
	esac
done
say 'no failure was found'
