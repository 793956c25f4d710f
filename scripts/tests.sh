#!/usr/bin/env bash
# Functions that run the tests. test.sh and soak.sh source this file after setup.sh, and set LOGS to the
# folder for logs.

# The test binaries that take longest. They start first, so that none of them remains for the end.
UNIT_LONGEST=(containers cuda kaisar_agent reach strategies pallet_orders pallet_popw pallet_rewards)

# These test binaries need the machine to themselves, since they measure the bandwidth of a line.
UNIT_ALONE=(dishonest netns suite)

# The tests of containers that also run in Docker's own daemon, about differences of the engines. All of them
# run in Podman.
DOCKER_TESTS=(an_order_is_deployed a_container_that_ends a_container_has_its_limits an_image_that_is_not_there
	an_engine_that_is_away every_template isolation)

# The end-to-end tests that take longest among those that run in parallel. They start first.
E2E_LONGEST=(docs orders agent)

# These end-to-end tests need the machine to themselves: in main-job the agents measure the machine, and in
# restart they have one phase of a round to start again and catch up. The others claim hardware that any
# machine has, or only wait for events.
E2E_ALONE=(main-job restart)

# Program that reads cargo's messages, and prints a line for each test binary: its name, the folder of its
# crate, and its file.
# shellcheck disable=SC2016 # it is JavaScript
LIST_TESTS='
	const { dirname } = require("node:path");
	for (const line of require("node:fs").readFileSync(0, "utf8").split("\n").filter(Boolean)) {
		const { executable, manifest_path, profile, target } = JSON.parse(line);
		if (executable && profile.test) console.log(`${target.name} ${dirname(manifest_path)} ${executable}`);
	}'

# Builds the test binaries, and lists them in the form of LIST_TESTS, those that take longest first.
list_tests() {
	local all name
	all=$(cd "$KAISAR_ROOT" && cargo test --workspace --locked --no-run --message-format=json-render-diagnostics |
		node -e "$LIST_TESTS")
	for name in "${UNIT_LONGEST[@]}"; do
		grep "^$name " <<<"$all" || true
	done
	grep -vE "^($(IFS='|' && echo "${UNIT_LONGEST[*]}")) " <<<"$all" || true
}

# Runs a test binary as cargo would, and prints its whole output once it has ended. Its name may be followed
# by @ and the container engine to test with.
run_test() {
	local name=$1 folder=$2 file=$3 engine='' log status=0
	shift 3
	if [[ $name == *@* ]]; then engine=${name#*@}; fi
	log=$(mktemp "$LOGS/unit-$name-XXXXXX.log")
	(cd "$folder" && CARGO_MANIFEST_DIR=$folder KAISAR_ENGINE=${engine:-${KAISAR_ENGINE:-podman}} "$file" "$@") \
		>"$log" 2>&1 || status=$?
	{
		flock 9
		printf '\n%s: %s\n' "$name" "$(elapsed "$SECONDS")"
		cat "$log"
		if ((status)); then printf '%s ended with exit code %s\n' "$file" "$status"; fi
	} 9>"$LOGS/lock"
	return "$status"
}
export -f run_test elapsed

# Runs the unit and property tests: the binaries of all crates, two at a time, those of UNIT_ALONE one at a
# time, and the examples in the documentation. While one binary waits for a container or a line, another
# computes.
unit_tests() {
	local tests apart status=0
	tests=$(list_tests)
	apart="^($(IFS='|' && echo "${UNIT_ALONE[*]}")) "
	{
		grep -vE "$apart" <<<"$tests"
		sed -n "s/^containers .*/& ${DOCKER_TESTS[*]}/; s/^containers /containers@docker /p" <<<"$tests"
	} | xargs --max-procs=2 --max-lines=1 bash -c 'run_test "$@"' run_test || status=$?
	grep -E "$apart" <<<"$tests" |
		xargs --max-procs=1 --max-lines=1 bash -c 'run_test "$@"' run_test || status=$?
	(cd "$KAISAR_ROOT" && cargo test --doc --workspace --locked 2>&1) | tee "$LOGS/unit-doc.log" || status=$?
	return "$status"
}

# Runs the end-to-end files whose name contains E2E_FILTER.
e2e_tests() {
	local alone=() first=() together=() file name status=0
	for file in "$KAISAR_ROOT"/e2e/test/*.test.mjs; do
		name=${file##*/}
		if [[ "$name" != *"${E2E_FILTER:-}"* ]]; then continue; fi
		case " ${E2E_ALONE[*]} | ${E2E_LONGEST[*]} " in
			*" ${name%.test.mjs} "*'|'*) alone+=("$file") ;;
			*'|'*" ${name%.test.mjs} "*) first+=("$file") ;;
			*) together+=("$file") ;;
		esac
	done
	together=(${first[@]+"${first[@]}"} ${together[@]+"${together[@]}"})
	# These tests wait more than they compute.
	if ((${#together[@]})); then e2e_files 3 "${together[@]}" || status=$?; fi
	if ((${#alone[@]})); then e2e_files 1 "${alone[@]}" || status=$?; fi
	return "$status"
}

# Runs end-to-end files, a number at a time: `e2e_files NUMBER FILE …`. The reporter is set, since the
# default depends on the version and on the terminal. Tests wait for events and blocks; the timeout only ends
# a test that waits for something that cannot happen any more.
e2e_files() {
	local at_once=$1
	shift
	(cd "$KAISAR_ROOT/e2e" && node --test --test-concurrency="$at_once" --test-reporter=tap \
		--test-timeout=900000 "$@" 2>&1) |
		tee -a "$LOGS/e2e.log" | grep -avE --line-buffered '^ *(---|\.\.\.|duration_ms:.*|type: .*|1\.\.[0-9]+)$'
}
