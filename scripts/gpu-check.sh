#!/usr/bin/env bash
# All checks of a GPU, in one run on a bare machine: the results of each kernel against the processor's,
# their pace beside yardsticks, the figures for the class, a whole trial, and two identities on one GPU.
# Leaves a report.
set -Eeuo pipefail

usage() {
	cat <<-HELP
		usage: scripts/gpu-check.sh [--built FOLDER] [--report FILE] [--class CLASS] [PART …]
		       scripts/gpu-check.sh build FOLDER
		       scripts/gpu-check.sh --try [--built FOLDER] [--report FILE] [PART …]

		Checks the first NVIDIA GPU, or the one that --gpu names. The machine needs only its driver: no network, compiler
		or library. Takes about seven minutes on an H100, and leaves one JSON report. Without PART it runs all:
		  kernels      every kernel against the processor's code
		  bench        products, walks and turns beside cuBLAS and a plain copy, and each part of a window
		  calibrate    the reference figures of the GPU's class
		  identities   two identities at once, each with the class's pace and half of its memory: both must be too slow
		  trial        a whole trial of the machine, judged by a committee's rules

		  build FOLDER     only compile and pack into FOLDER, and print the size (needs the checkout)
		  --built FOLDER   run the programs in FOLDER instead of those beside this script
		  --report FILE    the report (default: gpu-check.json)
		  --class CLASS    the GPU's class, if its name does not show it
		  --gpu GPU        bus id or UUID; kaisar-agent detect lists them
		  --try            run on software Vulkan, at small sizes: shows only that this script works

		environment:
		  KAISAR_GPU_CHECK_SECS   timeout of a part in seconds (default: 240)
	HELP
}

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
BUILT='' REPORT=gpu-check.json CLASS='' GPU='' TRY='' PARTS=()
SECS="${KAISAR_GPU_CHECK_SECS:-240}"
die() {
	printf 'error: %s\n' "$1" >&2
	[[ -z "${2:-}" ]] || printf 'advice: %s\n' "$2" >&2
	exit 1
}
say() { printf '==> %s (%s s)\n' "$*" "$SECONDS"; }

build() {
	local folder=$1 bench
	mkdir -p "$folder"
	# shellcheck source=scripts/lib.sh
	source "$ROOT/scripts/lib.sh"
	(cd "$ROOT" && cargo build --release --locked -p kaisar-agent --bin kaisar-agent --bench gpu)
	bench=$(find "$CARGO_TARGET_DIR/release/deps" -maxdepth 1 -name 'gpu-*' -type f -perm -u+x -printf '%T@ %p\n' | sort -rn | sed -n '1s/^[^ ]* //p')
	install -m 755 -s "$CARGO_TARGET_DIR/release/kaisar-agent" "$folder/kaisar-agent"
	install -m 755 -s "$bench" "$folder/gpu-bench"
	install -m 755 "${BASH_SOURCE[0]}" "$folder/gpu-check.sh"
	say "packed: $(tar -C "$folder" -cz . | wc -c) bytes of at most 60000000"
}

while (($#)); do
	case "$1" in
		-h | --help) usage && exit 0 ;;
		build)
			[[ -n "${2:-}" ]] || die "build takes a folder" "scripts/gpu-check.sh --help"
			build "$2"
			exit 0
			;;
		--built | --report | --class | --gpu)
			[[ -n "${2:-}" ]] || die "$1 takes a value" "scripts/gpu-check.sh --help"
			name=${1#--}
			printf -v "${name^^}" '%s' "$2"
			shift
			;;
		--try) TRY=yes ;;
		kernels | bench | calibrate | identities | trial) PARTS+=("$1") ;;
		*) die "unknown argument: $1" "scripts/gpu-check.sh --help" ;;
	esac
	shift
done
wanted() { [[ ${#PARTS[@]} -eq 0 || " ${PARTS[*]} " == *" $1 "* ]]; }

[[ -n "$BUILT" ]] || BUILT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
AGENT="$BUILT/kaisar-agent"
[[ -x "$AGENT" && -x "$BUILT/gpu-bench" ]] || die "$BUILT does not contain kaisar-agent and gpu-bench" "make them with scripts/gpu-check.sh build FOLDER, and pass --built FOLDER"

FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
GPUS=(--gpus hardware)
[[ -z "$TRY" ]] || GPUS=(--gpus software)
if [[ -n "$GPU" ]]; then GPUS+=(--gpu "$GPU"); fi
CLAIM=()
if [[ -n "$CLASS" ]]; then CLAIM=(--class "$CLASS"); fi
if [[ -n "$TRY" && -z "$CLASS" ]]; then CLAIM=(--class 1); fi
FAILED=()

# Runs a part, whose lines of JSON go to a file. If it fails, notes that and continues.
part() {
	local name=$1 status=0
	shift
	say "$name"
	timeout "$SECS" "$@" >"$FOLDER/$name" 2>"$FOLDER/$name.err" || status=$?
	# Progress and warnings are for people.
	grep -v '^$' "$FOLDER/$name.err" | cut -c 1-300 | tail -n 20 >&2 || true
	if ((status)); then
		FAILED+=("$name")
		printf '%s: failed with exit code %s (124: it ran longer than %s s, see KAISAR_GPU_CHECK_SECS)\n' "$name" "$status" "$SECS" >&2
	fi
	cut -c 1-400 "$FOLDER/$name"
}

# Prints the value of a field of a line of JSON.
field() { sed -nE 's/.*"'"$1"'":"?([^,"}]*).*/\1/p' | sed -n 1p; }

if wanted kernels; then part kernels "$AGENT" kernels --json "${GPUS[@]}"; fi
if wanted bench; then
	bench=("$BUILT/gpu-bench" json)
	[[ -z "$TRY" ]] || bench+=(software)
	part bench "${bench[@]}"
fi
# The GPU alone, then two identities on it, which share its memory.
calibrate=("$AGENT" calibrate --json "${GPUS[@]}" "${CLAIM[@]}")
if wanted calibrate || wanted identities; then
	alone=("${calibrate[@]}" --runs 5)
	[[ -z "$TRY" ]] || alone=("${calibrate[@]}" --runs 1 --try-mib 8)
	part calibrate "${alone[@]}"
fi
if wanted identities; then
	turns=$(field trialTurns <"$FOLDER/calibrate")
	memory=$(field memoryGb <"$FOLDER/calibrate")
	if [[ -z "$turns" || -z "$memory" ]]; then
		FAILED+=(identities)
		printf 'identities: skipped, since calibrate gave no pace to compare with; see its error above\n' >&2
	else
		both=("${calibrate[@]}" --runs 3 --memory-gb $((memory * 47 / 100 > 0 ? memory * 47 / 100 : 1)))
		[[ -z "$TRY" ]] || both=("${calibrate[@]}" --runs 1 --try-mib 8)
		say identities
		timeout "$SECS" "${both[@]}" >"$FOLDER/first" 2>&1 &
		first=$!
		timeout "$SECS" "${both[@]}" >"$FOLDER/second" 2>&1 || true
		wait "$first" || true
		: >"$FOLDER/identities"
		for one in first second; do
			pace=$(field trialTurns <"$FOLDER/$one")
			grep -m1 '^{' "$FOLDER/$one" >>"$FOLDER/identities" || cat "$FOLDER/$one" >&2
			# A GPU passes at 10 / 13.8 of its class's pace.
			if [[ -z "$pace" ]] || ((pace * 138 >= turns * 100)) && [[ -z "$TRY" ]]; then
				FAILED+=("identities: the $one identity kept its class, with ${pace:-no} turns of $turns")
			else
				printf 'identities: the %s of two has %s turns in 10 s; one alone has %s\n' "$one" "$pace" "$turns"
			fi
		done
	fi
fi
if wanted trial; then
	trial=("$AGENT" bench --json "${GPUS[@]}" "${CLAIM[@]}")
	[[ -n "$TRY" ]] || trial+=(--full)
	reference=$(sed -nE 's/.*"reference":(\{[^}]*\}).*/\1/p' "$FOLDER/calibrate" 2>/dev/null | sed -n 1p || true)
	if [[ -n "$reference" && -z "$TRY" ]]; then trial+=(--reference "$reference"); fi
	part trial "${trial[@]}"
fi

# The report, as one document.
text() { sed 's/\\/\\\\/g; s/"/\\"/g' | tr -d '\n'; }
{
	printf '{\n  "date": "%s",\n  "tried_only": %s,\n' "$(date -u +%F)" "$([[ -n "$TRY" ]] && echo true || echo false)"
	printf '  "gpu": "%s",\n' "$(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader 2>/dev/null | text || true)"
	printf '  "processor": "%s, %s threads",\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | sed -n 1p | text)" "$(nproc)"
	printf '  "agent": "%s",\n  "secs": %s,\n' "$("$AGENT" --version | text)" "$SECONDS"
	printf '  "failed": ['
	separator=''
	for one in "${FAILED[@]}"; do
		printf '%s"%s"' "$separator" "$(text <<<"$one")"
		separator=', '
	done
	printf ']'
	for name in kernels bench calibrate identities trial; do
		[[ -s "$FOLDER/$name" ]] || continue
		printf ',\n  "%s": [\n' "$name"
		grep '^{' "$FOLDER/$name" | sed 's/^/    /; $!s/$/,/'
		printf '  ]'
	done
	printf '\n}\n'
} >"$REPORT"
say "the report: $REPORT"
if ((${#FAILED[@]})); then die "failed: ${FAILED[*]}" "see the errors above; $REPORT has the other measurements"; fi
