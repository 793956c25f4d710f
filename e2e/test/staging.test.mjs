// Tests a chain with production's parameters, made from newly generated keys: its chain spec, a validator's
// node, finality, and a specification for light clients.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { Node, binary } from '../lib/node.mjs';

const run = (...args) => promisify(execFile)(binary('kaisar-node'), args, { maxBuffer: 2 ** 26 });
const generate = async (scheme) =>
	JSON.parse((await run('key', 'generate', '--scheme', scheme, '--output-type', 'json')).stdout);

let chain;
let folder;
let node;
before(async () => {
	folder = await mkdtemp(join(tmpdir(), 'kaisar-staging-'));
	const [account, babe, grandpa] = await Promise.all(['sr25519', 'sr25519', 'ed25519'].map(generate));
	const keys = join(folder, 'keys.json');
	const validator = {
		account: account.ss58PublicKey,
		babe: babe.ss58PublicKey,
		grandpa: grandpa.ss58PublicKey,
	};
	const balances = [[account.ss58PublicKey, '1000.5']];
	await writeFile(keys, JSON.stringify({ balances, validators: [validator] }));
	chain = join(folder, 'staging.json');
	await writeFile(chain, (await run('staging-spec', '--keys', keys)).stdout);

	// These are the steps of the command's help.
	const basePath = join(folder, 'validator');
	const at = ['--chain', chain, '--base-path', basePath];
	for (const [type, scheme, { secretPhrase }] of [
		['babe', 'sr25519', babe],
		['gran', 'ed25519', grandpa],
	]) {
		await run('key', 'insert', ...at, '--key-type', type, '--scheme', scheme, '--suri', secretPhrase);
	}
	await run('key', 'generate-node-key', ...at);
	node = await Node.start({ args: ['--chain', chain, '--validator'], basePath });
});
after(async () => {
	await node?.stop();
	await rm(folder, { force: true, recursive: true });
});

test('the chain makes blocks and finalizes them', async () => {
	const [, number] = await node.logged(/finalized #([1-9]\d*) /, { timeout: 240_000 });
	assert.ok(Number(number) > 0);
});

test('a light client gets a specification with a finalized block in it', async () => {
	const answer = await fetch(`http://127.0.0.1:${node.rpcPort}`, {
		body: JSON.stringify({ id: 1, jsonrpc: '2.0', method: 'sync_state_genSyncSpec', params: [true] }),
		headers: { 'content-type': 'application/json' },
		method: 'POST',
	});
	const { result } = await answer.json();
	assert.equal(result.id, 'kaisar_staging');
	assert.match(result.lightSyncState.finalizedBlockHeader, /^0x[0-9a-f]+$/);
	// A node can also start from this specification.
	const file = join(folder, 'light.json');
	await writeFile(file, JSON.stringify(result));
	const { stdout } = await run('export-chain-spec', '--chain', file);
	assert.equal(JSON.parse(stdout).id, 'kaisar_staging');
});

test('a node without a known chain lists the choices', async () => {
	for (const [args, part] of [
		[[], '`--chain local`'],
		[['--chain', ''], '`--chain local`'],
		[['--chain', 'staging'], 'staging-spec --keys FILE'],
	]) {
		await assert.rejects(run(...args), ({ stderr }) => {
			assert.match(stderr, /^Error: /m);
			assert.ok(stderr.includes(part), stderr);
			return true;
		});
	}
});
