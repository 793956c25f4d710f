#!/bin/sh
# Creates the token and the key of an agent, unless they exist, in the folder /agent, which the node and the
# agent share. The key is the seed of an ed25519 key in hex; the token is a random secret.
set -eu
umask 077
random() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }
for name in token key; do
	if [ ! -s "/agent/$name" ]; then
		random >"/agent/$name.new"
		mv "/agent/$name.new" "/agent/$name"
	fi
done
mkdir -p /agent/peers
