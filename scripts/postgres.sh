#!/usr/bin/env bash
# Runs a PostgreSQL server for one test, with data, settings and socket in one folder. The machine's own
# clusters are not touched.
set -euo pipefail

usage() {
	cat <<-HELP
		usage: scripts/postgres.sh start DIR [PORT]   start a server with all its files in DIR
		       scripts/postgres.sh halt DIR           end the server; its data stays
		       scripts/postgres.sh stop DIR           end the server and remove DIR

		start   prints the URL of the database kaisar, owned by the superuser kaisar, as one line. The server
		        listens on a socket in DIR, and on the loopback address if PORT is given. It requires no
		        password. A halted server starts again with its data.

		Needs Debian's postgresql. PostgreSQL does not run as root: root starts it as the user postgres, or as
		nobody if that user does not exist, and makes that user the owner of DIR.

		Nothing is synced to disk. This is fast, and data does not survive a crash of the machine.
	HELP
}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# Prints the folder of the newest installed server.
find_server() {
	local newest
	newest=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1 || true)
	[[ -n "$newest" ]] || die "PostgreSQL is not installed: run scripts/setup.sh"
	printf '%s' "${newest%/initdb}"
}

# Runs a program of PostgreSQL as the user that owns the data.
as_owner() {
	local program=$1 owner=postgres
	shift
	# That user may have no access to the caller's folder.
	cd /
	if [[ $EUID -ne 0 ]]; then
		"$SERVER/$program" "$@"
	else
		id "$owner" >/dev/null 2>&1 || owner=nobody
		chown "$owner" "$DIR"
		setpriv --reuid "$owner" --regid "$(id -g "$owner")" --clear-groups "$SERVER/$program" "$@"
	fi
}

runs() { as_owner pg_ctl status --pgdata "$DIR/data" >/dev/null 2>&1; }

make_cluster() {
	as_owner initdb --pgdata "$DIR/data" --username kaisar --auth trust --encoding UTF8 --locale C.UTF-8 \
		--no-sync >"$DIR/initdb.log" 2>&1 || {
		cat "$DIR/initdb.log" >&2
		die "cannot create a cluster in $DIR; the log is above"
	}
	cat >>"$DIR/data/postgresql.conf" <<-CONF
		unix_socket_directories = '$DIR'
		listen_addresses = '${PORT:+127.0.0.1}'
		port = ${PORT:-5432}
		fsync = off
		synchronous_commit = off
		full_page_writes = off
		max_connections = 20
		shared_buffers = 16MB
	CONF
}

start() {
	[[ -e "$DIR/data/PG_VERSION" ]] || make_cluster
	if ! runs; then
		as_owner pg_ctl start --wait --timeout 60 --silent --pgdata "$DIR/data" --log "$DIR/server.log" </dev/null >/dev/null || {
			cat "$DIR/server.log" >&2
			die "the server in $DIR does not start; its log is above"
		}
	fi
	if [[ ! -e "$DIR/made" ]]; then
		as_owner createdb --host "$DIR" --port "${PORT:-5432}" --username kaisar kaisar
		: >"$DIR/made"
	fi
	printf 'postgresql://kaisar@/kaisar?host=%s&port=%s\n' "${DIR//\//%2F}" "$(sed -n 's/^port = //p' "$DIR/data/postgresql.conf")"
}

halt() {
	if runs; then as_owner pg_ctl stop --wait --timeout 60 --silent --mode fast --pgdata "$DIR/data" >/dev/null; fi
}

stop() {
	if runs; then as_owner pg_ctl stop --wait --timeout 60 --silent --mode immediate --pgdata "$DIR/data" >/dev/null; fi
	rm -rf "$DIR"
}

[[ $# -ge 2 ]] || {
	usage
	exit 2
}
COMMAND=$1
mkdir -p "$2"
DIR=$(cd "$2" && pwd -P)
PORT=${3:-}
SERVER=$(find_server)
case "$COMMAND" in
	start) start ;;
	halt) halt ;;
	stop) stop ;;
	*)
		usage
		exit 2
		;;
esac
