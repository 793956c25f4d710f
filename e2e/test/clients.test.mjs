// Tests other programs' view of a chain: plain JSON-RPC, @polkadot/api, polkadot-api with its code
// generation, and subxt, each with its own decoders and without ours.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { merkleizeMetadata } from '@polkadot-api/merkleize-metadata';
import { u8aToHex } from '@polkadot/util';

import { Dev } from '../lib/dev.mjs';
import { general } from '../lib/extrinsics.mjs';
import { binary } from '../lib/node.mjs';
import { plain } from '../lib/plain.mjs';

const run = promisify(execFile);
const ROOT = `0x${'ab'.repeat(32)}`;
const CLIENTS = fileURLToPath(new URL('../clients', import.meta.url));
const E2E = fileURLToPath(new URL('..', import.meta.url));

let dev;
// A block with an inherent, a signed transaction, and one that is neither, the fee-less call of a worker.
let block;
before(async () => {
	dev = await Dev.start({ args: ['--dev', '--no-agents'], manual: true });
	await dev.operators();
	const { api, chain, watch } = dev;
	const { worker } = await dev.register();
	const round = await dev.due(worker);
	const attest = dev.attest(worker, round.index, ROOT, { key: dev.workerKey, seed: round.seed });
	const bytes = general(api, attest);
	const remark = api.tx.system.remarkWithEvent('0x1234');
	await chain.submit(bytes);
	const [included] = await Promise.all([
		watch.extrinsic(bytes, 'the attestation'),
		chain.send(dev.sudo, remark),
	]);
	block = { hash: included.hash, number: included.block, round: round.index, worker };
});
after(async () => {
	await dev?.stop();
});

test('chain_getBlock gives extrinsics as hex', async () => {
	const answer = await fetch(dev.node.url.replace('ws:', 'http:'), {
		body: JSON.stringify({ id: 1, jsonrpc: '2.0', method: 'chain_getBlock', params: [block.hash] }),
		headers: { 'content-type': 'application/json' },
		method: 'POST',
	});
	const { extrinsics } = (await answer.json()).result.block;
	assert.ok(extrinsics.length >= 3);
	for (const extrinsic of extrinsics) {
		assert.match(extrinsic, /^0x[0-9a-f]+$/);
	}
});

test('@polkadot/api reads blocks with all kinds of transactions, and their events', async () => {
	const { api } = dev;
	const { block: decoded } = await api.rpc.chain.getBlock(block.hash);
	const names = decoded.extrinsics.map(({ method }) => `${method.section}.${method.method}`);
	for (const name of ['timestamp.set', 'popw.attest', 'system.remarkWithEvent']) {
		assert.ok(names.includes(name), `${name} is among ${names}`);
	}
	const signed = decoded.extrinsics.filter(({ isSigned }) => isSigned);
	assert.deepEqual(signed.map(({ method }) => method.method), ['remarkWithEvent']);
	const events = await (await api.at(block.hash)).query.system.events();
	const attested = events.filter(({ event }) => api.events.popw.Attested.is(event));
	assert.equal(attested.length, 1);
	assert.equal(attested[0].event.data.worker.toNumber(), block.worker);
});

test('polkadot-api generates its code, which reads blocks, events and views', async (t) => {
	// The folder is in e2e/, where the packages are found.
	const folder = await mkdtemp(join(E2E, '.clients-'));
	t.after(() => rm(folder, { force: true, recursive: true }));
	const options = { cwd: folder, timeout: 240_000 };
	// Node.js 20 has a WebSocket behind a flag; later versions have it by default.
	const node = (file, ...args) =>
		run(process.execPath, ['--experimental-websocket', file, ...args], options);
	const tool = (path) => join(E2E, 'node_modules', path);
	const json = (name, content) => writeFile(join(folder, name), JSON.stringify(content));
	await mkdir(join(folder, '.papi'));
	await json('package.json', { private: true, type: 'module' });
	await json('.papi/polkadot-api.json', {
		descriptorPath: '.papi/descriptors',
		entries: {},
		options: { noDescriptorsPackage: true },
		version: 0,
	});
	await json('tsconfig.json', {
		compilerOptions: {
			module: 'esnext',
			moduleResolution: 'bundler',
			outDir: '.',
			skipLibCheck: true,
			strict: true,
			target: 'es2023',
			types: ['node'],
		},
		files: ['papi.ts'],
	});
	await cp(join(CLIENTS, 'papi.ts'), join(folder, 'papi.ts'));

	await node(tool('polkadot-api/bin/cli.js'), 'add', 'kaisar', '--wsUrl', dev.node.url);
	// Errors of types are on standard output.
	await node(tool('typescript/bin/tsc'), '-p', '.').catch(({ stdout }) => assert.fail(stdout));
	const checker = dev.checkers[0].account.address;
	const { stdout } = await node('papi.js', dev.node.url, checker, block.hash);
	const read = JSON.parse(stdout);

	assert.ok(read.transactions.includes('bare Timestamp.set'));
	assert.ok(read.transactions.includes('general Popw.attest'));
	assert.ok(read.transactions.includes('signed System.remark_with_event'));
	assert.ok(read.events.includes('Popw.Attested') && read.events.includes('System.Remarked'));
	assert.deepEqual(read.attested, [{ round: block.round, worker: block.worker }]);
	assert.deepEqual(read.states, ['Pending']);
	assert.deepEqual(read.operators, [0, 1, 2]);
	assert.equal(read.licenses.length, 10);
	assert.equal(read.slashes, 0);
	assert.equal(read.idle, 0);
	assert.equal(read.name, 'GPU_H100_80GB_SXM');
	assert.equal(read.classScore, 1_000);
	assert.equal(read.memory, 80);
	const { onDemand } = plain(await dev.chain.view('Orders', 'price', [1], block.hash));
	assert.equal(read.price, BigInt(onDemand).toString());
});

test('subxt reads blocks, events and a view', async () => {
	const { stdout } = await run(binary('examples/read_chain'), [dev.node.url, block.hash], { timeout: 120_000 });
	const read = JSON.parse(stdout);
	assert.equal(read.number, block.number);
	for (const call of ['Timestamp.set', 'Popw.attest', 'System.remark_with_event']) {
		assert.ok(read.calls.includes(call), `${call} is among ${read.calls}`);
	}
	assert.equal(read.signed, 1);
	assert.ok(read.events.includes('Popw.Attested') && read.events.includes('System.Remarked'));
	assert.equal(read.active_licenses, 30);
});

test('a signature over the hash of the metadata is accepted, and one over another hash is refused', async () => {
	const { api, chain, watch } = dev;
	// As on a Ledger or Vault, the device signs the hash of the metadata that it was shown, mode 1.
	const metadata = await api.call.metadata.metadataAtVersion(15);
	const digest = merkleizeMetadata(metadata.unwrap().toHex(), { decimals: 18, tokenSymbol: 'KAI' }).digest();
	const bob = dev.keys.pair('//Bob');
	const sign = async (metadataHash) => {
		const nonce = await api.rpc.system.accountNextIndex(bob.address);
		const call = api.tx.system.remarkWithEvent('0x5678');
		const signed = await call.signAsync(bob, { metadataHash, mode: 1, nonce, withSignedTransaction: true });
		return signed.toHex();
	};
	const changed = Uint8Array.from(digest);
	changed[0] ^= 1;
	await assert.rejects(chain.submit(await sign(u8aToHex(changed))), /1010: .*bad signature/);
	const bytes = await sign(u8aToHex(digest));
	await chain.submit(bytes);
	const { events } = await watch.extrinsic(bytes, 'the remark');
	assert.ok(events.some(({ name }) => name === 'system.ExtrinsicSuccess'));
	assert.ok(events.some(({ name }) => name === 'system.Remarked'));
});
