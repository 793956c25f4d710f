// Tests that need no node: of encodings, formulas, and helpers of the library.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TypeRegistry } from '@polkadot/types';
import { u8aConcat, u8aToHex } from '@polkadot/util';
import { blake2AsHex, cryptoWaitReady, decodeAddress, signatureVerify } from '@polkadot/util-crypto';

import { appLink } from '../lib/chain.mjs';
import {
	BOOST_ONE,
	CHECKER_ONE,
	CLASS_SCORES,
	KAI,
	boost,
	censusCredit,
	checkerScore,
	emissionBetween,
	emissionUpTo,
	hardware,
	kai,
	lesser,
	minimumStake,
	part,
	pots,
	releasedUpTo,
	score,
	share,
} from '../lib/formulas.mjs';
import { Keys } from '../lib/keys.mjs';
import * as scale from '../lib/scale.mjs';

const registry = new TypeRegistry();
registry.register({
	Verdict: {
		online: 'bool',
		service: 'bool',
		timed: 'bool',
		proof: 'bool',
		bandwidth: 'u8',
		cpu: 'u8',
		memory: 'u8',
		disk: 'u8',
		gpuClass: 'u16',
		gpuCount: 'u8',
	},
});
const VERDICT = {
	bandwidth: 1,
	cpu: 2,
	disk: 3,
	gpuClass: 513,
	gpuCount: 8,
	memory: 4,
	online: true,
	proof: true,
	service: false,
	timed: true,
};

test('integers are encoded as the registry encodes them', () => {
	for (const value of [0, 1, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2 ** 32, 10n ** 18n]) {
		assert.equal(
			u8aToHex(scale.compact(value)),
			u8aToHex(registry.createType('Compact<u128>', value).toU8a()),
		);
	}
	for (const value of [0n, 1n, 258n, 2n ** 31n]) {
		assert.equal(u8aToHex(scale.uint(value, 4)), u8aToHex(registry.createType('u32', value).toU8a()));
	}
	assert.throws(() => scale.uint(256, 1), RangeError);
	assert.throws(() => scale.uint(-1, 4), RangeError);
	assert.throws(() => scale.fixed('0x0102', 3), RangeError);
});

test('votes are encoded as the registry encodes them', () => {
	for (const list of [[], [[7, VERDICT]], Array.from({ length: 64 }, (_, i) => [i * 1_000, VERDICT])]) {
		assert.equal(
			u8aToHex(scale.votes(list)),
			u8aToHex(registry.createType('Vec<(u32, Verdict)>', list).toU8a()),
		);
	}
});

test('a commitment is the hash of the tuple, which begins with the domain without a length prefix', () => {
	const input = {
		batch: 3,
		genesis: `0x${'11'.repeat(32)}`,
		operator: 9,
		round: 4,
		salt: new Uint8Array(32).fill(0x22),
		votes: [[7, VERDICT]],
	};
	const tuple = registry.createType('([u8; 18], H256, u32, u32, u16, Vec<(u32, Verdict)>, [u8; 32])', [
		Buffer.from('kaisar/popw/commit'),
		input.genesis,
		4,
		9,
		3,
		input.votes,
		input.salt,
	]);
	assert.equal(u8aToHex(scale.commitment(input)), blake2AsHex(tuple.toU8a()));
	for (const change of [{ operator: 8 }, { round: 5 }, { batch: 2 }, { votes: [] }]) {
		assert.notEqual(
			u8aToHex(scale.commitment({ ...input, ...change })),
			u8aToHex(scale.commitment(input)),
		);
	}
});

test('payloads are the hash of domain, genesis, seed and the arguments', () => {
	const genesis = `0x${'11'.repeat(32)}`;
	const seed = `0x${'33'.repeat(32)}`;
	const root = `0x${'44'.repeat(32)}`;
	assert.equal(
		u8aToHex(scale.attestPayload({ genesis, root, round: 2, seed, worker: 1 })),
		blake2AsHex(
			registry
				.createType('([u8; 13], H256, H256, u32, u32, [u8; 32])', [
					Buffer.from('kaisar/attest'),
					genesis,
					seed,
					1,
					2,
					root,
				])
				.toU8a(),
		),
	);
	assert.equal(
		u8aToHex(scale.commitPayload({ batch: 1, genesis, hash: root, operator: 5, round: 2, seed })),
		blake2AsHex(
			registry
				.createType('([u8; 13], H256, H256, u32, u32, u16, H256)', [
					Buffer.from('kaisar/commit'),
					genesis,
					seed,
					5,
					2,
					1,
					root,
				])
				.toU8a(),
		),
	);
	assert.equal(
		u8aToHex(
			scale.revealPayload({ batch: 1, genesis, operator: 5, round: 2, salt: root, seed, votes: [[7, VERDICT]] }),
		),
		blake2AsHex(
			registry
				.createType('([u8; 13], H256, H256, u32, u32, u16, Vec<(u32, Verdict)>, [u8; 32])', [
					Buffer.from('kaisar/reveal'),
					genesis,
					seed,
					5,
					2,
					1,
					[[7, VERDICT]],
					root,
				])
				.toU8a(),
		),
	);
});

test('a proof of possession is signed by both keys, for one role and one account', async () => {
	await cryptoWaitReady();
	const keys = new Keys();
	const genesis = `0x${'11'.repeat(32)}`;
	const account = keys.pair('//Provider');
	const key = keys.pair('//Provider//worker');
	const agent = keys.agent('//Provider//agent');
	const proof = keys.proof('Worker', genesis, account, key, agent);
	const payload = scale.possessionPayload('Worker', genesis, account.publicKey);
	assert.equal(
		u8aToHex(payload),
		blake2AsHex(
			u8aConcat('kaisar/keys', Uint8Array.of(0), genesis, decodeAddress(account.address)),
		),
	);
	assert.ok(signatureVerify(payload, proof.key, key.publicKey).isValid);
	assert.ok(signatureVerify(payload, proof.agent, agent.publicKey).isValid);
	const other = scale.possessionPayload('Checker', genesis, account.publicKey);
	assert.notDeepEqual(other, payload);
	assert.ok(!signatureVerify(other, proof.key, key.publicKey).isValid);
	assert.throws(() => scale.possessionPayload('Validator', genesis, account.publicKey), RangeError);
});

test('emission follows the published curve', () => {
	assert.equal(emissionUpTo(0), 0n);
	assert.equal(emissionUpTo(1), 15n * KAI);
	assert.equal(emissionBetween(10_512_000, 10_512_001), 13n * KAI);
	assert.equal(emissionBetween(21_023_999, 21_024_001), 24n * KAI);
	assert.equal(emissionBetween(31_536_000, 40_000_000), 0n);
	assert.equal(emissionUpTo(31_536_000), 409_968_000n * KAI);
	assert.equal(part(emissionBetween(0, 7_200 * 30), 50), 1_620_000n * KAI);
	assert.equal(part(emissionUpTo(31_536_000), 20), 81_993_600n * KAI);
});

test('hardware and boost give the score of the tables', () => {
	const none = { bandwidth: 0, cpu: 0, disk: 0, gpuClass: 0, gpuCount: 0, memory: 0 };
	assert.equal(hardware(none), 0n);
	assert.equal(hardware({ bandwidth: 4, cpu: 4, disk: 4, gpuClass: 1, gpuCount: 8, memory: 4 }), 24_400n);
	assert.equal(hardware({ ...none, bandwidth: 1, cpu: 1, disk: 1, memory: 1 }), 100n);
	assert.equal(CLASS_SCORES.length, 34);
	assert.equal(CLASS_SCORES[33], 1_000n);
	assert.equal(CLASS_SCORES[5], 100n);
	const max = 50_000n * KAI;
	assert.equal(boost(0n, max), BOOST_ONE);
	assert.equal(boost(max, max), 2n * BOOST_ONE);
	assert.equal(boost(3n * max, max), 2n * BOOST_ONE);
	assert.equal(boost(500n * KAI, max), 1_010_000_000n);
	// Without a GPU the weight is 4 of 129 cores, and 10 % of that.
	const small = { ...none, cpu: 1 };
	assert.equal(score(10, 500n * KAI, max, small), (10n * 1_010_000_000n * 20n * 4n) / 1_290n);
	const card = { ...none, gpuClass: 11, gpuCount: 1 };
	assert.equal(score(10, 0n, max, card), 10n * BOOST_ONE * 225n);
	assert.equal(minimumStake({ gpuClass: 0, gpuCount: 0 }), 500n * KAI);
	assert.equal(minimumStake({ gpuClass: 1, gpuCount: 8 }), 16_500n * KAI);
	assert.equal(minimumStake({ gpuClass: 16, gpuCount: 1 }), 600n * KAI);
});

test('time counts by the lesser profile, and a census for the mean interval', () => {
	const a = { bandwidth: 1, cpu: 2, disk: 3, gpuClass: 11, gpuCount: 4, memory: 0 };
	const b = { bandwidth: 4, cpu: 1, disk: 2, gpuClass: 11, gpuCount: 2, memory: 1 };
	assert.deepEqual(lesser(a, b), { bandwidth: 1, cpu: 1, disk: 2, gpuClass: 11, gpuCount: 2, memory: 0 });
	const other = lesser(a, { ...b, gpuClass: 12 });
	assert.deepEqual([other.gpuClass, other.gpuCount], [0, 0]);
	const production = { checkPeriod: 48, phaseLength: 25 };
	const round = (phaseLength) => ({ phaseLength, start: 100, trial: 120 });
	assert.equal(censusCredit(round(25), production), 1_275);
	assert.equal(censusCredit(round(250), production), 1_950);
	assert.equal(censusCredit(round(625), production), 3_075);
});

test('shares are rounded down and never more than the pot', () => {
	assert.equal(share(1n, 100n, 3n), 33n);
	assert.equal(share(1n, 100n, 0n), 0n);
	assert.deepEqual(pots(1_000n, 300n, 100n), { carried: 0n, poc: 750n, pod: 250n });
	assert.deepEqual(pots(1_000n, 2n, 1n), { carried: 1n, poc: 666n, pod: 333n });
	assert.deepEqual(pots(1_000n, 0n, 0n), { carried: 1_000n, poc: 0n, pod: 0n });
	// 50 verifications with an error rate of 10 % are 45 of 50.
	assert.equal(checkerScore(45, 50), (405n * CHECKER_ONE) / 10n);
	assert.equal(checkerScore(0, 0), 0n);
	assert.equal(releasedUpTo(118_006_400n * KAI, 31_536_000), 118_006_400n * KAI);
	assert.equal(releasedUpTo(118_006_400n * KAI, 0), 0n);
});

test('the keys of the development chain are those in its genesis', async () => {
	await cryptoWaitReady();
	const keys = new Keys();
	const same = (pair, hex) => assert.equal(u8aToHex(pair.publicKey), hex);
	same(keys.pair('//Provider'), '0xea3801477a2f2e35ac843d34bcc01a20e8cf72eab1ee8f016c189a3ebdb68b36');
	same(keys.pair('//Checker1'), '0xb8ded1364bf5e117049432619e90934d72632c6016b9e1e33ae740526a36c16d');
	same(keys.pair('//Checker1//key'), '0x4cb655f4b9edfbf7964b0da731efc09b20753f92e39e8c70a02b648a1c1fe338');
	same(keys.agent('//Checker1//agent'), '0xe1a760702368a7104bff9f320e24c3c912e4f4f62d5f7416834ee94743ad7007');
});

test('amounts and links are formatted for people', () => {
	assert.equal(kai(1_234_567n * KAI + KAI / 2n), '1,234,567.5 KAI');
	assert.equal(kai(-KAI), '-1 KAI');
	assert.equal(kai(0n), '0 KAI');
	assert.equal(
		appLink('ws://127.0.0.1:9944', 'explorer/query/0x00'),
		'https://polkadot.js.org/apps/?rpc=ws%3A%2F%2F127.0.0.1%3A9944#/explorer/query/0x00',
	);
});
