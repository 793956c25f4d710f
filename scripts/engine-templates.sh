#!/usr/bin/env bash
# Stand-ins for the images of the templates (templates/*.json), for tests. engine.sh sources this file, and
# sets DIR. A stand-in has programs of busybox in the places of the image's own. They check their arguments
# and variables, and do with users, files and ports as the image's programs do, so that a template that lacks
# an argument or a capability fails.

# Writes a program of the stand-in from standard input: `program PATH`.
program() {
	mkdir -p "$(dirname "$DIR/stand-in$1")"
	cat >"$DIR/stand-in$1"
	chmod 755 "$DIR/stand-in$1"
}

# Makes a folder with all of busybox, two users, a page, and the shell that most images have.
stand_in_base() {
	local root=$DIR/stand-in name
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/etc/profile.d" "$root/root" "$root/www"
	mkdir -m 1777 "$root/tmp"
	cp /bin/busybox "$root/bin/busybox"
	for name in $(/bin/busybox --list); do
		[[ "$name" == busybox ]] || ln -s busybox "$root/bin/$name"
	done
	printf '%s\n' root:x:0:0:root:/root:/bin/sh _apt:x:42:42::/tmp:/bin/sh nginx:x:101:101::/tmp:/bin/sh \
		user:x:1000:1000::/tmp:/bin/sh >"$root/etc/passwd"
	printf '%s\n' root:x:0: _apt:x:42: nginx:x:101: user:x:1000: >"$root/etc/group"
	printf 'stand-in of %s\n' "$1" >"$root/www/index.html"
	program /bin/bash <<-'SH'
		#!/bin/sh
		exec /bin/sh "$@"
	SH
	# `as-user USER` starts an idle process as the user, waits until it is the user's, and prints its id.
	program /bin/as-user <<-'SH'
		#!/bin/sh
		set -eu
		su -s /bin/sh -c 'exec sleep 100000' "$1" >/dev/null </dev/null &
		tries=0
		until grep -q "^Uid:[[:space:]]*$(id -u "$1")[[:space:]]" "/proc/$!/status"; do
			tries=$((tries + 1))
			if [ "$tries" -gt 20 ] || [ ! -e "/proc/$!" ]; then exit 1; fi
			sleep 0.1
		done
		echo "$!"
	SH
}

# Ubuntu as far as the templates with SSH use it: apt, and Dropbear once it is installed.
stand_in_ubuntu() {
	program /usr/bin/apt-get <<-'SH'
		#!/bin/sh
		set -eu
		case "$1" in
			update) exit ;;
			install) ;;
			*) exit 2 ;;
		esac
		case " $* " in
			*' dropbear-bin '*) ;;
			*) exit 2 ;;
		esac
		# dpkg unpacks a file of another user, sets its mode, and root writes to it.
		rm -f /tmp/unpacked
		echo new >/tmp/unpacked
		chown 42:42 /tmp/unpacked
		chmod 600 /tmp/unpacked
		echo more >>/tmp/unpacked
		# apt downloads as another user, and ends the download.
		download=$(as-user _apt)
		kill "$download"
		cp /usr/share/dropbear /usr/bin/dropbear
	SH
	program /usr/share/dropbear <<-'SH'
		#!/bin/sh
		set -eu
		port='' passwords=yes
		while [ $# -gt 0 ]; do
			case "$1" in
				-p) port=$2 && shift ;;
				-s) passwords=no ;;
			esac
			shift
		done
		[ "$passwords" = no ]
		[ "$(stat -c '%a %u' /root/.ssh/authorized_keys)" = '600 0' ]
		grep -q '^ssh-' /root/.ssh/authorized_keys
		exec nc -ll -p "$port" -e /usr/share/banner
	SH
	program /usr/share/banner <<-'SH'
		#!/bin/sh
		printf 'SSH-2.0-stand-in\r\n'
		exec cat >/dev/null
	SH
}

# Jupyter, as the server of notebooks and of JupyterLab.
stand_in_jupyter() {
	program /usr/local/bin/jupyter <<-'SH'
		#!/bin/sh
		set -eu
		port='' ip='' hash='' root=no
		for argument in "$@"; do
			case "$argument" in
				--ServerApp.port=*) port=${argument#*=} ;;
				--ServerApp.ip=*) ip=${argument#*=} ;;
				--PasswordIdentityProvider.hashed_password=*) hash=${argument#*=} ;;
				--allow-root) root=yes ;;
			esac
		done
		[ "$ip" = 0.0.0.0 ]
		[ -n "$hash" ]
		if [ "$(id -u)" = 0 ]; then [ "$root" = yes ]; fi
		exec httpd -f -p "$port" -h /www
	SH
}

# Programs that differ from image to image.
stand_in_of() {
	case "$1" in
		cuda)
			stand_in_ubuntu
			program /opt/nvidia/nvidia_entrypoint.sh <<-'SH'
				#!/bin/bash
				exec "$@"
			SH
			;;
		pytorch | ubuntu-ssh) stand_in_ubuntu ;;
		tensorflow) stand_in_jupyter ;;
		jupyterlab)
			stand_in_jupyter
			program /usr/bin/tini <<-'SH'
				#!/bin/sh
				while [ "$1" != -- ]; do shift; done
				shift
				exec "$@"
			SH
			program /usr/local/bin/start.sh <<-'SH'
				#!/bin/bash
				[ "$(id -u)" = 1000 ] || exit 1
				exec "$@"
			SH
			program /usr/local/bin/start-notebook.py <<-'SH'
				#!/bin/sh
				exec jupyter lab "$@"
			SH
			;;
		comfyui)
			program /runner-scripts/entrypoint.sh <<-'SH'
				#!/bin/bash
				set -eu
				mkdir -p /root/ComfyUI
				echo done >/root/.download-complete
				# shellcheck disable=SC2086 # they are words
				set -- $CLI_ARGS
				host='' port=''
				while [ $# -gt 0 ]; do
					case "$1" in
						--listen) host=$2 && shift ;;
						--port) port=$2 && shift ;;
					esac
					shift
				done
				exec httpd -f -p "$host:$port" -h /www
			SH
			;;
		code-server)
			program /usr/bin/entrypoint.sh <<-'SH'
				#!/bin/sh
				set -eu
				eval "$(fixuid -q)"
				exec dumb-init /usr/bin/code-server "$@"
			SH
			# The program is setuid, which has no effect in a container of an order.
			program /usr/bin/fixuid <<-'SH'
				#!/bin/sh
				[ "$(id -u)" = 0 ] || exit 1
			SH
			program /usr/bin/dumb-init <<-'SH'
				#!/bin/sh
				exec "$@"
			SH
			program /usr/bin/code-server <<-'SH'
				#!/bin/sh
				set -eu
				address='' auth=''
				while [ $# -gt 0 ]; do
					case "$1" in
						--bind-addr) address=$2 && shift ;;
						--auth) auth=$2 && shift ;;
					esac
					shift
				done
				[ "$auth" = password ]
				exec httpd -f -p "$address" -h /www
			SH
			;;
		vllm)
			program /usr/bin/python3 <<-'SH'
				#!/bin/sh
				set -eu
				[ "$1 $2" = '-m vllm.entrypoints.openai.api_server' ]
				model='' host='' port=''
				while [ $# -gt 0 ]; do
					case "$1" in
						--model) model=$2 && shift ;;
						--host) host=$2 && shift ;;
						--port) port=$2 && shift ;;
					esac
					shift
				done
				[ -n "$model" ]
				exec httpd -f -p "$host:$port" -h /www
			SH
			;;
		ollama)
			program /bin/ollama <<-'SH'
				#!/bin/sh
				set -eu
				[ "$1" = serve ]
				exec httpd -f -p 0.0.0.0:11434 -h /www
			SH
			;;
		nginx)
			program /docker-entrypoint.sh <<-'SH'
				#!/bin/sh
				exec "$@"
			SH
			program /usr/sbin/nginx <<-'SH'
				#!/bin/sh
				set -eu
				[ "$1 $2" = '-g daemon off;' ]
				# The master gives the workers their folders, and starts them as their user.
				mkdir -p /var/cache/nginx/client_temp
				chown 101 /var/cache/nginx/client_temp
				as-user nginx >/dev/null
				exec httpd -f -p 80 -h /www
			SH
			;;
		*) die "$1 is not a template with a stand-in" ;;
	esac
}

# Makes localhost/kaisar-template-NAME:1: `make_stand_in NAME [CHANGE …]`, with changes as in a Dockerfile.
make_stand_in() {
	local name=$1
	shift
	stand_in_base "$name"
	stand_in_of "$name"
	tar -C "$DIR/stand-in" -c . | engine_import "localhost/kaisar-template-$name:1" "$@"
	rm -rf "$DIR/stand-in"
}
