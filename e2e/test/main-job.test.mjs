// Tests the story of `scripts/dev.sh`. The story registers a worker, and claims at the end; the node's
// off-chain workers and the agents do everything else. The story itself compares the payments with the
// formulas; these tests examine the chain that keeps running afterward, and Ctrl-C.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Dev } from '../lib/dev.mjs';
import { emissionUpTo, hardware } from '../lib/formulas.mjs';
import { plain } from '../lib/plain.mjs';
import { checkRewards } from '../lib/rewards.mjs';

const SCRIPT = fileURLToPath(new URL('../../scripts/dev.sh', import.meta.url));
let ended;
let output = '';
let story;

/** Waits for a pattern in the story's output. Fails if the story ends without it. */
async function says(pattern) {
	for (;;) {
		const match = pattern.exec(output);
		if (match) {
			return match;
		}
		const how = await Promise.race([
			new Promise((resolve) => story.stdout.once('data', () => resolve(undefined))),
			ended,
		]);
		if (how && !pattern.exec(output)) {
			throw new Error(`the story ended with ${JSON.stringify(how)} and without ${pattern}:\n${output}`);
		}
	}
}

/** Ends the story and all its child processes, unless it has ended. */
function endStory() {
	try {
		process.kill(-story.pid, 'SIGTERM');
	} catch {
		// The story has ended.
	}
}

before(() => {
	story = spawn(SCRIPT, ['--no-setup', '--no-build', '--rpc-port', '0'], {
		detached: true,
		stdio: ['ignore', 'pipe', 'pipe'],
	});
	for (const stream of [story.stdout, story.stderr]) {
		stream.setEncoding('utf8');
		stream.on('data', (text) => {
			output += text;
		});
	}
	ended = new Promise((resolve) => {
		story.once('exit', (code, signal) => resolve({ code, signal }));
	});
	// If a signal ends the tests, their `after` hooks do not run.
	process.on('exit', endStory);
});
after(async () => {
	endStory();
	await ended;
});

let dev;
let worker;

test('the story goes from a registration to claimed rewards', async () => {
	const [, url] = await says(/RPC (ws:\/\/127\.0\.0\.1:\d+)/);
	const [, seconds] = await says(/The story ended (\d+) s after/);
	console.log(output);
	assert.ok(Number(seconds) < 360, `it took ${seconds} s`);
	dev = await Dev.attachTo(url);
	worker = dev.watch.all('providers.WorkerRegistered')[0].data.worker;
});

test('the worker became Online at the end of a check, by three votes', async () => {
	const { api, watch } = dev;
	const online = watch.all(
		'providers.WorkerStateChanged',
		(e) => e.worker === worker && e.new === 'Online',
	)[0];
	const closed = watch.all(
		'popw.CheckClosed',
		(e, { block }) => e.worker === worker && block === online.block,
	)[0];
	assert.equal(closed.data.votes, 3);
	assert.ok(hardware(closed.data.outcome.Online.profile) > 0n, 'it is worth something');
	assert.equal(plain(await api.query.providers.workers(worker)).standings.now.value, 'Online');
});

test('nodes sent their calls without accounts and without fees', async () => {
	const { api, watch } = dev;
	for (const name of ['popw.Attested', 'popw.Committed', 'popw.Revealed']) {
		const [event] = watch.all(name);
		const { block } = await api.rpc.chain.getBlock(event.hash);
		assert.equal(block.extrinsics[event.extrinsic].isSigned, false, name);
	}
	const claims =
		watch.all('rewards.CheckerClaimed').length + watch.all('rewards.DelegationClaimed').length;
	// The provider paid for registering, for lowering its claim if it had to, and for claiming; each checker
	// paid for claiming its own earnings and those of its licenses.
	const paid = watch.all('transactionPayment.TransactionFeePaid').map(({ data }) => data.who);
	const provider = paid.filter((who) => who === dev.provider.address).length;
	assert.ok(provider >= 2);
	assert.equal(paid.length - provider, claims);
});

test('the totals of the epochs agree with the events', async () => {
	const { watch } = dev;
	const ends = watch.all('rewards.EpochEnded');
	const paid = ends.findIndex(({ data }) => BigInt(data.pocScore) > 0n);
	assert.ok(paid >= 0);
	const { epochs } = await checkRewards(dev, worker, paid);
	for (const [index, epoch] of epochs.entries()) {
		assert.equal(epoch.noted.scores.idle, epoch.poc);
		assert.deepEqual([epoch.noted.scores.rented, epoch.noted.scores.pod], [0n, 0n]);
		assert.equal(epoch.noted.idleReward, epoch.workersPot);
		assert.equal(epoch.noted.checkerReward, epoch.checkersPot);
		assert.equal(BigInt(ends[index].data.providers), epoch.workersPot);
		assert.equal(BigInt(ends[index].data.checkers), epoch.checkersPot);
	}
	assert.ok(epochs.some(({ operators }) => operators.some(({ correct }) => correct > 0)));
});

test('rewards cannot be claimed twice, nor by others', async () => {
	const { api, chain } = dev;
	const ends = () => dev.watch.all('rewards.EpochEnded').length;
	const before = ends();
	const again = await chain.trySend(dev.provider, api.tx.rewards.claimWorker(worker));
	// A further epoch may have ended since, with more to claim.
	assert.ok(again.error === 'rewards.NothingToClaim' || ends() > before || before > 1, again.error);
	const other = await chain.trySend(dev.sudo, api.tx.rewards.claimWorker(worker));
	assert.equal(other.error, 'rewards.NotOwner');
	const nobody = await chain.trySend(dev.sudo, api.tx.rewards.claimChecker());
	assert.equal(nobody.error, 'rewards.NothingToClaim');
	const pool = { Checker: dev.checkers[0].operator };
	const stranger = await chain.trySend(dev.sudo, api.tx.rewards.claimDelegation(pool));
	assert.equal(stranger.error, 'rewards.NothingToClaim');
});

test('the remaining emission is the schedule less the emitted amount', async () => {
	const { api, chain } = dev;
	const header = await api.rpc.chain.getHeader();
	const left = await chain.view('Rewards', 'emission_left', [], header.hash);
	assert.equal(left.toBigInt(), emissionUpTo(31_536_000) - emissionUpTo(header.number.toNumber()));
});

test('Ctrl-C ends the chain and cleans up', async () => {
	await dev.detach();
	const [, folder] = /data in (\S+)/.exec(output);
	assert.ok(existsSync(folder));
	process.kill(-story.pid, 'SIGINT');
	const how = await ended;
	assert.deepEqual(how, { code: 0, signal: null });
	assert.ok(!existsSync(folder), 'the folder of the chain is gone');
});
