// Tests a node whose agent hangs, dies, or answers nonsense of any size: the node keeps running, logs it
// once, and recovers with the agent.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Dev } from '../lib/dev.mjs';
import { FakeAgent } from '../lib/fake-agent.mjs';
import { plain } from '../lib/plain.mjs';

const TOKEN = 'c0ffee'.repeat(8);
let agent;
let dev;
let folder;

before(async () => {
	folder = await mkdtemp(join(tmpdir(), 'kaisar-agent-'));
	await writeFile(join(folder, 'token'), `${TOKEN}\n`, { mode: 0o600 });
	agent = await FakeAgent.start(TOKEN);
	dev = await Dev.start({
		args: ['--dev', '--agent-url', agent.url, '--agent-token-file', join(folder, 'token')],
	});
});
after(async () => {
	await dev?.stop();
	await agent?.stop();
	await rm(folder, { force: true, recursive: true });
});

test('an agent that misbehaves never stops the node', async (t) => {
	const { node, watch } = dev;
	// The complaints of the node about its agents, all of which answer at first. One server stands for all
	// four, and both the node and the off-chain worker use each of them: each of the eight may complain
	// once.
	const complaint = /agent .*(is down|does not answer)/i;
	const said = () => node.linesLike(complaint);

	await watch.until(() => agent.count('good') >= 4, 'four good answers');
	assert.deepEqual(said(), []);

	// No worker proves anything yet: the first mode begins before it is due.
	agent.mode = 'hang';
	const { worker } = await dev.register();
	for (const mode of ['hang', 'die', 'garbage', 'nonsense', 'error', 'drip']) {
		await t.test(mode, async () => {
			agent.mode = mode;
			const began = { at: Date.now(), block: watch.last };
			await watch.until(() => agent.count(mode) >= 3, `three requests in mode ${mode}`);
			await watch.block(watch.last + 3);
			const perBlock = (Date.now() - began.at) / (watch.last - began.block);
			assert.ok(perBlock < 3_000, `a block a second, not every ${perBlock} ms`);
			// The node waits for some time before it complains.
			await node.logged(complaint);
			assert.ok(said().length <= 8, `expected at most 8 complaints, not ${said().length}:\n${said().join('\n')}`);
		});
	}
	assert.equal(node.linesLike(/panicked/).length, 0);

	await t.test('the node recovers with the agent', async () => {
		agent.mode = 'good';
		const back = node.logged(/agent.* is back/i, { from: node.lines.length });
		// The worker may be found absent only now, for the round in which its agent did not answer.
		await watch.until(
			async () => {
				const { standings } = plain(await dev.api.query.providers.workers(worker));
				if (standings.now.value === 'Offline') {
					await dev.chain.trySend(dev.provider, dev.api.tx.providers.goOnline(worker));
				}
				return standings.now.value === 'Online';
			},
			'the worker confirmed',
			{ blocks: 400 },
		);
		await back;
		assert.ok(
			agent.seen.every(({ authorization }) => authorization === `Bearer ${TOKEN}`),
			'every request carries the token',
		);
	});
});
