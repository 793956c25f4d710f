// The SCALE encodings that are signed or hashed outside of a call. They are written by hand, since the tests
// must not take them from the metadata under test.

import { blake2AsU8a } from '@polkadot/util-crypto';
import { hexToU8a, isHex, stringToU8a, u8aConcat } from '@polkadot/util';

/** Returns the little-endian bytes of an unsigned integer with this width in bytes. */
export function uint(value, width) {
	let rest = BigInt(value);
	if (rest < 0n || rest >= 1n << BigInt(8 * width)) {
		throw new RangeError(`${value} does not fit in ${width} bytes`);
	}
	const bytes = new Uint8Array(width);
	for (let i = 0; i < width; i += 1) {
		bytes[i] = Number(rest & 0xffn);
		rest >>= 8n;
	}
	return bytes;
}

/** Encodes a bool. */
export const bool = (value) => Uint8Array.of(value ? 1 : 0);

/** Encodes a compact integer. */
export function compact(value) {
	const number = BigInt(value);
	if (number < 1n << 6n) {
		return uint(number << 2n, 1);
	}
	if (number < 1n << 14n) {
		return uint((number << 2n) | 1n, 2);
	}
	if (number < 1n << 30n) {
		return uint((number << 2n) | 2n, 4);
	}
	let width = 4;
	while (number >= 1n << BigInt(8 * width)) {
		width += 1;
	}
	return u8aConcat(Uint8Array.of(((width - 4) << 2) | 3), uint(number, width));
}

/** Returns bytes of a fixed length, from hex or bytes. */
export function fixed(value, length) {
	const bytes = isHex(value) ? hexToU8a(value) : Uint8Array.from(value);
	if (bytes.length !== length) {
		throw new RangeError(`${bytes.length} bytes; expected ${length}`);
	}
	return bytes;
}

/** Encodes a domain string: Rust's `b"…"`, a fixed array without a length prefix. */
export const domain = (text) => stringToU8a(text);

/** Encodes `primitives::Verdict`. */
export function verdict(v) {
	return u8aConcat(
		bool(v.online),
		bool(v.service),
		bool(v.timed),
		bool(v.proof),
		uint(v.bandwidth, 1),
		uint(v.cpu, 1),
		uint(v.memory, 1),
		uint(v.disk, 1),
		uint(v.gpuClass, 2),
		uint(v.gpuCount, 1),
	);
}

/** Encodes `primitives::Votes`, given as `[[worker, verdict], …]`. */
export function votes(list) {
	return u8aConcat(
		compact(list.length),
		...list.map(([worker, v]) => u8aConcat(uint(worker, 4), verdict(v))),
	);
}

/** Returns `H(b"kaisar/keys", role, genesis, account)`, which a node key and an agent key sign. */
export function possessionPayload(role, genesis, account) {
	const index = ['Worker', 'Checker'].indexOf(role);
	if (index < 0) {
		throw new RangeError(`unknown role: ${role}`);
	}
	return blake2AsU8a(
		u8aConcat(domain('kaisar/keys'), uint(index, 1), fixed(genesis, 32), fixed(account, 32)),
	);
}

/** Returns the hash that `commit` takes and `reveal` opens. */
export function commitment({ genesis, round, operator, batch, votes: list, salt }) {
	return blake2AsU8a(
		u8aConcat(
			domain('kaisar/popw/commit'),
			fixed(genesis, 32),
			uint(round, 4),
			uint(operator, 4),
			uint(batch, 2),
			votes(list),
			fixed(salt, 32),
		),
	);
}

/** Returns the payload that a worker key signs for a fee-less `attest`. */
export function attestPayload({ genesis, seed, worker, round, root }) {
	return blake2AsU8a(
		u8aConcat(
			domain('kaisar/attest'),
			fixed(genesis, 32),
			fixed(seed, 32),
			uint(worker, 4),
			uint(round, 4),
			fixed(root, 32),
		),
	);
}

/** Returns the payload that a checker key signs for a fee-less `commit`. */
export function commitPayload({ genesis, seed, operator, round, batch, hash }) {
	return blake2AsU8a(
		u8aConcat(
			domain('kaisar/commit'),
			fixed(genesis, 32),
			fixed(seed, 32),
			uint(operator, 4),
			uint(round, 4),
			uint(batch, 2),
			fixed(hash, 32),
		),
	);
}

/** Returns the payload that a checker key signs for a fee-less `reveal`. */
export function revealPayload({ genesis, seed, operator, round, batch, votes: list, salt }) {
	return blake2AsU8a(
		u8aConcat(
			domain('kaisar/reveal'),
			fixed(genesis, 32),
			fixed(seed, 32),
			uint(operator, 4),
			uint(round, 4),
			uint(batch, 2),
			votes(list),
			fixed(salt, 32),
		),
	);
}
