// Tests that nothing is lost if the node ends in each phase of a round, by SIGTERM or by SIGKILL.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Dev } from '../lib/dev.mjs';

let basePath;
let dev;
before(async () => {
	basePath = await mkdtemp(join(tmpdir(), 'kaisar-restart-'));
	dev = await Dev.start({ args: ['--dev'], basePath });
});
after(async () => {
	await dev?.stop();
	await rm(basePath, { force: true, maxRetries: 5, recursive: true });
});

/** Follows a round of the worker, ends the node with a signal at the start of each phase that has one,
 * starts it again, and checks that the round is complete. */
async function throughARound(worker, round, { attest, commit, reveal }) {
	const mine = (e) => e.worker === worker && e.round === round.index;

	// The trial was requested just now.
	if (attest) {
		await dev.restart(attest);
	}
	const attested = await dev.watch.event('popw.Attested', mine);
	assert.equal(attested.data.committee.length, 3);

	// The checks are running.
	await dev.phase(round, 2);
	if (commit) {
		await dev.restart(commit);
	}
	for (const [operator] of attested.data.committee) {
		await dev.watch.event(
			'popw.Committed',
			(e) => e.round === round.index && e.operator === operator,
		);
	}

	// Votes and salts have to survive.
	await dev.phase(round, 3);
	if (reveal) {
		await dev.restart(reveal);
	}
	const closed = await dev.watch.event('popw.CheckClosed', mine);
	assert.equal(closed.data.votes, 3, 'every vote was revealed');
	assert.ok(closed.data.outcome.Online, 'it was confirmed online');
}

test('a restart in each phase of the first round loses nothing', async () => {
	const { worker } = await dev.register();
	dev.worker = worker;
	const round = await dev.due(worker);
	await throughARound(worker, round, { attest: 'SIGKILL', commit: 'SIGTERM', reveal: 'SIGKILL' });
	await dev.confirmed(worker);
});

test('a restart in each phase of a census loses nothing', async () => {
	const { worker } = dev;
	const round = await dev.due(worker);
	assert.equal(round.kind, 'Census');
	await throughARound(worker, round, { reveal: 'SIGTERM' });
	assert.deepEqual(
		dev.watch.all('providers.FoundOffline', (e) => e.worker === worker),
		[],
	);
});

test('agents that die in the middle of a round are started again, and the round goes on', async () => {
	const { node, watch, worker } = dev;
	const round = await dev.due(worker);
	const agents = node.agents();
	assert.equal(agents.length, 4);
	const from = node.lines.length;
	for (const pid of agents) {
		process.kill(pid, 'SIGKILL');
	}
	for (const name of ['provider', 'checker1', 'checker2', 'checker3']) {
		await node.logged(new RegExp(`The agent ${name} is down`), { from });
		await node.logged(new RegExp(`The agent ${name} is back`), { from });
	}
	const closed = await watch.event(
		'popw.CheckClosed',
		(e) => e.worker === worker && e.round === round.index,
	);
	assert.equal(closed.data.votes, 3, 'every checker voted');
	assert.ok(closed.data.outcome.Online, 'it was confirmed online');
	// The log has each of them once.
	assert.equal(node.lines.slice(from).filter((line) => /The agent \w+ is down/.test(line)).length, 4);
});
