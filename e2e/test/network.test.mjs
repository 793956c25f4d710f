// Tests two nodes, each with an agent that knows nothing of the other: the agents find each other through
// the network's DHT.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { TypeRegistry } from '@polkadot/types';

import { Keys } from '../lib/keys.mjs';
import { freePort } from '../lib/net.mjs';
import { Node, binary } from '../lib/node.mjs';

const registry = new TypeRegistry();
registry.register({
	AddressesFound: { records: 'Vec<Bytes>', chainMs: 'u64' },
	AddressBook: { agent: '[u8; 32]', record: 'Bytes', wanted: 'Vec<[u8; 32]>' },
	RoundStart: {
		genesis: 'H256',
		round: 'u32',
		seed: 'H256',
		trialSeed: 'H256',
		keepMs: 'u64',
		late: 'bool',
	},
	Arch: { _enum: ['Amd64', 'Arm64'] },
	WorkerSpec: {
		gpuClass: 'u16',
		gpuCount: 'u8',
		cpuCores: 'u16',
		memoryGb: 'u32',
		diskGb: 'u32',
		downloadMbps: 'u32',
		uploadMbps: 'u32',
		region: '[u8; 2]',
		arch: 'Arch',
		driver: 'u16',
		cuda: 'u16',
	},
	BenchParams: {
		n: 'u32',
		turns: 'u32',
		windowMib: 'u32',
		stages: 'u32',
		memoryMib: 'u32',
		diskMib: 'u32',
		reads: 'u32',
		bandwidthSecs: 'u8',
	},
	ClassReference: {
		trialTurns: 'u32',
		memoryGb: 'u32',
		calibrated: 'bool',
	},
	SeatRequest: {
		genesis: 'H256',
		round: 'u32',
		seed: 'H256',
		trialSeed: 'H256',
		worker: 'u32',
		agent: '[u8; 32]',
		spec: 'WorkerSpec',
		bench: 'BenchParams',
		reference: 'Option<ClassReference>',
		root: '[u8; 32]',
		openSeed: 'H256',
		checker: '[u8; 32]',
		seats: 'u8',
		full: 'bool',
		window: 'Option<u64>',
		rented: 'bool',
		order: 'Option<u32>',
	},
});
const SEED = `0x${'11'.repeat(32)}`;
const BENCH = {
	bandwidthSecs: 1,
	diskMib: 64,
	memoryMib: 64,
	n: 1_024,
	reads: 32,
	stages: 64,
	turns: 4,
	windowMib: 8,
};
const ROUND = {
	genesis: SEED,
	keepMs: 600_000,
	late: false,
	round: 0,
	seed: SEED,
	trialSeed: SEED,
};

let folder;
let provider;
let checker;

/** Makes a node's base path, in which the agent of a role has the key with this seed. */
async function basePath(role, seed) {
	const path = join(folder, role);
	const agent = join(path, 'chains', 'kaisar_local', 'agents', role);
	await mkdir(agent, { mode: 0o700, recursive: true });
	await writeFile(join(agent, 'key'), Buffer.from(seed).toString('hex'), { mode: 0o600 });
	return path;
}

before(async () => {
	folder = await mkdtemp(join(tmpdir(), 'kaisar-network-'));
	// The chain has to know both agents: nodes only store and look up addresses of such agents.
	const keys = new Keys();
	const seeds = [1, 2].map((byte) => new Uint8Array(32).fill(byte));
	const { stdout } = await promisify(execFile)(
		binary('kaisar-node'),
		['export-chain-spec', '--chain', 'local'],
		{ maxBuffer: 2 ** 26 },
	);
	const operators = seeds.map((seed, index) => {
		const account = keys.pair(`//Checker${index + 1}`);
		const key = keys.pair(`//Checker${index + 1}//key`);
		const agent = keys.ed25519.addFromSeed(seed);
		return [account.address, key.address, agent.address, 0, true];
	});
	// Balances are too large for JSON.parse to read exactly.
	const spec = stdout.replace('"operators": []', `"operators": ${JSON.stringify(operators)}`);
	assert.notEqual(spec, stdout);
	const chain = join(folder, 'chain.json');
	await writeFile(chain, spec);

	const p2pPort = await freePort();
	provider = await Node.start({
		args: ['--chain', chain, '--provider', '--agent-arg=--port=0'],
		basePath: await basePath('provider', seeds[0]),
		p2pPort,
	});
	const [, identity] = await provider.logged(/Local node identity is: (\w+)/);
	checker = await Node.start({
		basePath: await basePath('checker', seeds[1]),
		args: [
			'--chain',
			chain,
			'--checker',
			'--agent-arg=--port=0',
			'--bootnodes',
			`/ip4/127.0.0.1/tcp/${p2pPort}/p2p/${identity}`,
		],
	});
});
after(async () => {
	await checker?.stop();
	await provider?.stop();
	await rm(folder, { force: true, recursive: true });
});

/** Returns the folder of a node's agents. */
const agents = (node) => join(node.basePath, 'chains', 'kaisar_local', 'agents');

/** Sends a request to a node's agent, as its off-chain worker does. */
async function ask(node, name, path, type, value) {
	const [, url] = await node.logged(new RegExp(`The agent ${name} is ready at (\\S+)`));
	const answer = await fetch(`${url}${path}`, {
		body: registry.createType(type, value).toU8a(),
		headers: {
			authorization: `Bearer ${readFileSync(join(agents(node), name, 'token'), 'utf8').trim()}`,
		},
		method: 'POST',
	});
	assert.equal(answer.status, 200, `${path}: ${answer.status}`);
	return new Uint8Array(await answer.arrayBuffer());
}

/** Returns the keys of the agents that a node's agent looks for, in hex. */
async function wantedBy(node, name) {
	const nothing = { chainMs: 0, records: [] };
	const book = await ask(node, name, '/v1/addresses', 'AddressesFound', nothing);
	return registry.createType('AddressBook', book).wanted.map((key) => key.toHex().slice(2));
}

test("a checker's agent finds a worker's agent that it never heard of", async () => {
	const [, key] = await provider.logged(/The agent provider has the key 0x(\w+)/);
	await provider.logged(/The agent provider is ready/);
	const [, own] = await checker.logged(/The agent checker has the key 0x(\w+)/);
	await checker.logged(/The agent checker is ready/);
	assert.deepEqual(readdirSync(join(agents(checker), 'peers')), [own], 'it only knows itself');

	// It has to check a worker that it cannot reach.
	await ask(checker, 'checker', '/v1/round', 'RoundStart', ROUND);
	const seat = {
		...ROUND,
		agent: `0x${key}`,
		bench: BENCH,
		checker: SEED,
		openSeed: SEED,
		root: SEED,
		seats: 1,
	};
	const reply = await ask(checker, 'checker', '/v1/check', 'Vec<SeatRequest>', [seat]);
	// There is one reply, for worker 0, whose check is in progress.
	assert.deepEqual([...reply], [4, 0, 0, 0, 0, 0]);
	// Its agent reports the agents that it looks for until it has reached them, at the address that the
	// nodes found.
	let missed = false;
	for (;;) {
		const wanted = await wantedBy(checker, 'checker');
		if (wanted.includes(key)) {
			missed = true;
		} else if (missed) {
			break;
		}
		// The wait ends if a node ends, or at the runner's timeout.
		assert.ok(!checker.ended && !provider.ended, 'both nodes run');
		await new Promise((resolve) => setTimeout(resolve, 20));
	}
	assert.deepEqual(
		readdirSync(join(agents(checker), 'peers')),
		[own],
		'no stranger\'s address is on the disk',
	);
});

test('a customer can ask any node for the address of an agent', async () => {
	const [, key] = await provider.logged(/The agent provider has the key 0x(\w+)/);
	const where = async (node, agent) => {
		const answer = await fetch(`http://127.0.0.1:${node.rpcPort}`, {
			body: JSON.stringify({ id: 1, jsonrpc: '2.0', method: 'kaisar_agentAddress', params: [agent] }),
			headers: { 'content-type': 'application/json' },
			method: 'POST',
		});
		return (await answer.json()).result;
	};
	// The record for agents of the same machine also has loopback addresses. Both have the same stamp,
	// before the signature.
	const here = readFileSync(join(agents(provider), 'peers', key));
	const record = await where(provider, `0x${key}`);
	const bytes = Buffer.from(record.slice(2), 'hex');
	assert.equal(bytes.subarray(0, 32).toString('hex'), key, 'its own node knows');
	assert.deepEqual(bytes.subarray(-72, -64), here.subarray(-72, -64), 'it is the newest record');
	assert.equal(await where(checker, `0x${key}`), record, 'another finds it in the DHT');
	const asked = Date.now();
	assert.equal(await where(checker, SEED), null, 'the chain knows no such agent');
	assert.ok(Date.now() - asked < 8_000, 'so the node does not ask the network');
});
