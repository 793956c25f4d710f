// Tests one node without agents: its metadata, a round driven only by signed extrinsics, and the refusals of
// the chain and the pool.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { stringCamelCase } from '@polkadot/util';

import { Chain } from '../lib/chain.mjs';
import { Dev, GOOD } from '../lib/dev.mjs';
import { bare, feePaid, general } from '../lib/extrinsics.mjs';
import { plain } from '../lib/plain.mjs';

const ROOT = `0x${'ab'.repeat(32)}`;
const OURS = ['Providers', 'Licenses', 'Checkers', 'Popw', 'Rewards', 'Orders'];
// The public interface, written by `UPDATE_INTERFACE=1`, so that reviews show each change.
const INTERFACE = new URL('./interface.json', import.meta.url);
// Names that the specification fixes, with arguments in order.
const PINNED = {
	Checkers: {
		accept_delegation: ['license'],
		annul_strike: ['worker', 'round', 'receipt'],
		delegate_license: ['license', 'operator'],
		deregister_checker: [],
		prune_checker: ['operator'],
		go_offline: [],
		go_online: [],
		register_checker: ['checker_key', 'agent_key', 'commission', 'proof'],
		reject_delegation: ['license'],
		revoke_delegation: ['license'],
		set_auto_accept: ['on'],
		set_checker_keys: ['checker_key', 'agent_key', 'proof'],
		set_commission: ['commission'],
	},
	Licenses: {
		purchase: ['count', 'referrer'],
		set_sale: ['round'],
		set_whitelist: ['accounts', 'listed'],
	},
	Orders: {
		cancel_order: ['order'],
		close_order: ['order'],
		confirm_deployment: ['order', 'signature'],
		extend_order: ['order', 'hours', 'max_price'],
		fail_deployment: ['order', 'reason', 'signature'],
		place_order: ['requirement', 'workload', 'hours', 'plan', 'max_price', 'credits', 'client_key'],
		report_exit: ['order', 'code', 'signature'],
		report_issue: ['order', 'reason'],
		set_client_key: ['order', 'client_key'],
		set_contingency: ['on'],
		set_cost: ['class', 'cost'],
		set_oracle: ['oracle'],
		set_price: ['class', 'reference'],
		set_template: ['id', 'template'],
	},
	Popw: {
		attest: ['worker', 'round', 'root', 'signature'],
		commit: ['operator', 'round', 'batch', 'hash', 'signature'],
		finalize: ['workers'],
		report_absent: ['worker', 'round'],
		reveal: ['operator', 'round', 'batch', 'votes', 'salt', 'signature'],
	},
	Providers: {
		cancel_slash: ['id'],
		apply_slash: ['id'],
		clear_worthless: ['worker', 'who'],
		deregister_worker: ['worker'],
		go_offline: ['worker'],
		go_online: ['worker'],
		register_worker: ['spec', 'worker_key', 'agent_key', 'stake', 'proof'],
		set_commission: ['worker', 'commission'],
		set_delegation_cap: ['worker', 'most'],
		set_price_floor: ['worker', 'price_per_gpu_hour'],
		slash: ['worker', 'level'],
		set_worker_keys: ['worker', 'worker_key', 'agent_key', 'proof'],
		stake: ['worker', 'amount'],
		unstake: ['worker', 'amount'],
		update_worker: ['worker', 'spec'],
		withdraw_unbonded: ['worker'],
	},
	Rewards: {
		claim_checker: [],
		claim_delegation: ['pool'],
		claim_worker: ['worker'],
		redeem: ['amount', 'term'],
		set_class_reference: ['class', 'reference'],
		set_class_score: ['class', 'score'],
		set_score_table: ['table'],
		settle: ['pool'],
		withdraw_redemption: ['id'],
	},
};

let dev;
before(async () => {
	// Blocks are sealed when the test waits for them, so it cannot miss a phase.
	dev = await Dev.start({ args: ['--dev', '--no-agents'], manual: true });
	await dev.operators();
});
after(async () => {
	await dev?.stop();
});

/** Returns our pallets, calls, events and errors, as in the metadata. */
function interfaceOf(api) {
	const { lookup } = api.registry;
	const variants = (type) =>
		type.isSome
			? [...lookup.getSiType(type.unwrap().type).def.asVariant.variants]
					.sort((a, b) => a.index - b.index)
					.map(({ fields, index, name }) => ({
						fields: [...fields].map((field) => field.name.unwrapOr('').toString()),
						index: index.toNumber(),
						name: name.toString(),
					}))
			: [];
	return Object.fromEntries(
		OURS.map((name) => {
			const pallet = api.registry.metadata.pallets.find((one) => one.name.toString() === name);
			assert.ok(pallet, `pallet ${name} is in the metadata`);
			const { calls, errors, events, index } = pallet;
			return [
				name,
				{
					calls: variants(calls),
					errors: variants(errors).map(({ index: at, name: error }) => ({ index: at, name: error })),
					events: variants(events),
					index: index.toNumber(),
				},
			];
		}),
	);
}

test('the metadata names every pallet, call, event and error of ours, without a type bundle', async () => {
	const { api } = dev;
	const found = interfaceOf(api);
	for (const [pallet, calls] of Object.entries(PINNED)) {
		for (const [call, args] of Object.entries(calls)) {
			const one = found[pallet].calls.find(({ name }) => name === call);
			assert.ok(one, `${pallet}.${call}`);
			assert.deepEqual(one.fields, args, `${pallet}.${call}`);
		}
	}
	for (const [pallet, { calls, errors, events }] of Object.entries(found)) {
		const section = stringCamelCase(pallet);
		for (const { name } of calls) {
			assert.equal(typeof api.tx[section][stringCamelCase(name)], 'function', `${pallet}.${name}`);
			assert.ok(
				api.tx[section][stringCamelCase(name)].meta.docs.length > 0,
				`${pallet}.${name} is documented`,
			);
		}
		for (const { name } of events) {
			assert.equal(typeof api.events[section][name]?.is, 'function', `${pallet}.${name}`);
		}
		for (const { name } of errors) {
			const { meta } = api.errors[section][name];
			assert.ok(meta.docs.length > 0, `${pallet}.${name} is documented`);
		}
	}
	if (process.env.UPDATE_INTERFACE) {
		writeFileSync(INTERFACE, `${JSON.stringify(found, null, '\t')}\n`);
	}
	const locked = JSON.parse(readFileSync(INTERFACE, 'utf8'));
	assert.deepEqual(found, locked, 'the public interface changed; if this is intended, run with UPDATE_INTERFACE=1');
});

test('chain properties, constants and storage can be read by name', async () => {
	const { api } = dev;
	assert.deepEqual(api.registry.chainDecimals, [18]);
	assert.deepEqual(api.registry.chainTokens, ['KAI']);
	assert.equal(api.consts.balances.existentialDeposit.toBigInt(), 10n ** 15n);
	assert.equal(api.runtimeVersion.specName.toString(), 'kaisar');
	await dev.watch.block(1);
	const rounds = await dev.rounds();
	assert.ok(rounds.length > 0);
	assert.ok(['Spot', 'Census'].includes(rounds[0].kind));
});

test('a second client connects while the first works', async () => {
	const other = await Chain.connect(dev.node.url);
	assert.equal(other.api.genesisHash.toHex(), dev.genesis);
	await other.disconnect();
});

const state = {};

/** Sends all cases at once, and checks the error of each: `[signer, call, error]`. */
async function fail(...cases) {
	const { chain } = dev;
	const found = await Promise.all(cases.map(([signer, call]) => chain.trySend(signer, call)));
	for (const [index, [, call, expected]] of cases.entries()) {
		const { args, method, section } = call.method;
		const what = `${section}.${method}(${args.slice(0, 3).join(', ')})`;
		assert.ok(
			[expected].flat().includes(found[index].error),
			`${what}: ${found[index].error} instead of ${expected}`,
		);
	}
}

test('a round is driven entirely by signed extrinsics', async (t) => {
	const { api, chain, watch } = dev;
	const [one, two, three] = dev.checkers;
	let round;

	await t.test('a worker registers, and is due in the next round', async () => {
		const { worker } = await dev.register();
		state.worker = worker;
		round = await dev.due(worker);
		assert.equal(round.kind, 'Spot');
	});
	const { worker } = state;

	await t.test('only the owner attests, once, without a second signature', async () => {
		const attest = dev.attest(worker, round.index, ROOT);
		const signed = dev.attest(worker, round.index, ROOT, { key: dev.workerKey, seed: round.seed });
		await fail(
			[one.account, attest, 'popw.NotOwner'],
			[dev.provider, signed, 'popw.SignatureNotExpected'],
			[dev.provider, dev.attest(worker + 1, round.index, ROOT), 'popw.UnknownWorker'],
			[dev.provider, dev.attest(worker, round.index + 1_000, ROOT), 'popw.UnknownRound'],
		);
		const done = await chain.send(dev.provider, attest);
		assert.ok(feePaid(done) > 0n, 'a signed attestation pays its fee');
		const { data } = done.events.find(({ name }) => name === 'popw.Attested');
		assert.equal(data.worker, worker);
		assert.equal(data.root, ROOT);
		const sits = data.committee.map(([operator]) => operator);
		assert.deepEqual(sits.sort(), dev.checkers.map((c) => c.operator).sort());
		state.weights = new Map(data.committee);
		const size = data.committee.reduce((sum, [, weight]) => sum + weight, 0);
		assert.ok(size >= 3, 'the draws of three licenses or more');
		// Two of the three operators will vote. Their weights, from the draw, determine whether they decide.
		const voting = state.weights.get(one.operator) + state.weights.get(three.operator);
		state.decides = 2 * voting > size;
	});

	// Good votes, with one for an unknown worker and a second one for the same worker among them.
	const mixed = [[worker, GOOD], [worker + 1_000, GOOD], [worker, { ...GOOD, online: false }]];
	const mine = dev.batch(one.operator, round.index, mixed);
	const good = dev.batch(three.operator, round.index, [[worker, GOOD]]);
	// The copied hash of another operator's votes.
	const copied = { ...mine, operator: two.operator };

	await t.test('a second attestation, and a commitment in the attest phase, are refused', async () => {
		await fail(
			[dev.provider, dev.attest(worker, round.index, ROOT), 'popw.AlreadyAttested'],
			[one.account, dev.commit(mine), 'popw.WrongPhase'],
		);
	});

	await t.test('operators commit, each for itself and only once', async () => {
		await dev.phase(round, 2);
		await fail(
			[dev.provider, dev.attest(worker, round.index, ROOT), 'popw.WrongPhase'],
			[two.account, dev.commit(mine), 'popw.NotOperator'],
			[one.account, dev.commit({ ...mine, operator: 4_000 }), 'popw.UnknownOperator'],
			[one.account, dev.commit({ ...mine, batch: 60_000 }), 'popw.BatchTooHigh'],
			[
				three.account,
				dev.commit(good, { key: three.key, seed: round.seed }),
				'popw.SignatureNotExpected',
			],
		);
		await Promise.all([
			chain.send(one.account, dev.commit(mine)),
			chain.send(two.account, dev.commit(copied)),
			chain.send(three.account, dev.commit(good)),
		]);
	});

	await t.test('a second commitment, and a reveal in the commit phase, are refused', async () => {
		await fail(
			[one.account, dev.commit(mine), 'popw.AlreadyCommitted'],
			[one.account, dev.reveal(mine), 'popw.WrongPhase'],
		);
	});

	await t.test('a copied commitment and a changed vote cannot be opened', async () => {
		await dev.phase(round, 3);
		const changed = [[worker, { ...GOOD, cpu: 4 }]];
		await fail(
			[two.account, dev.reveal(copied), 'popw.CommitmentMismatch'],
			[one.account, dev.reveal({ ...mine, votes: changed }), 'popw.CommitmentMismatch'],
			[one.account, dev.reveal({ ...mine, salt: ROOT }), 'popw.CommitmentMismatch'],
			[three.account, dev.reveal(mine), 'popw.NotOperator'],
			[dev.sudo, api.tx.popw.finalize([worker]), 'popw.NothingToFinalize'],
		);
	});

	await t.test('good votes stand, bad ones among them are skipped and counted', async () => {
		const [first, third] = await Promise.all([
			chain.send(one.account, dev.reveal(mine)),
			chain.send(three.account, dev.reveal(good)),
		]);
		const [counted, other] = [first, third].map(
			({ events }) => events.find(({ name }) => name === 'popw.Revealed').data,
		);
		assert.deepEqual([counted.counted, counted.skipped], [1, 2]);
		assert.deepEqual([other.counted, other.skipped], [1, 0]);
		await fail([one.account, dev.reveal(mine), 'popw.NoCommitment']);
	});

	await t.test('when the round is over, it is too late to reveal, and anyone closes the check', async () => {
		await dev.phase(round, 4);
		await fail([two.account, dev.reveal(copied), 'popw.WrongPhase']);
		// A node may be quicker. The check is closed once, whoever does it.
		await fail([dev.sudo, api.tx.popw.finalize([worker]), [null, 'popw.NothingToFinalize']]);
		const { data } = await watch.event('popw.CheckClosed', (e) => e.worker === worker);
		assert.equal(data.votes, 2);
		const decided = data.outcome.Online !== undefined;
		assert.equal(decided, state.decides, 'more than half of the weight decides');
		await fail([dev.sudo, api.tx.popw.finalize([worker]), 'popw.NothingToFinalize']);
		const info = plain(await api.query.providers.workers(worker));
		assert.equal(info.standings.now.value, state.decides ? 'Online' : 'Pending');
	});
});

test('the pool refuses fee-less calls that would fail', async (t) => {
	const { api, chain } = dev;
	const { worker } = state;
	const [one] = dev.checkers;
	const refused = async (bytes, what) => {
		await assert.rejects(
			chain.submit(bytes),
			// "Invalid Transaction" or "Unknown Transaction Validity"; any other message means that the
			// bytes were not even decoded.
			({ message }) => /^(1010|1011): /.test(message) || assert.fail(`${what}: ${message}`),
			what,
		);
	};
	const round = await dev.due(worker);
	const seed = round.seed;

	await t.test('attestations', async () => {
		const { workerKey: key } = dev;
		const good = dev.attest(worker, round.index, ROOT, { key, seed });
		await refused(general(api, dev.attest(worker, round.index, ROOT)), 'no signature');
		await refused(bare(good), 'a bare extrinsic');
		await refused(general(api, dev.attest(worker, round.index, ROOT, { key: one.key, seed })), 'wrong key');
		await refused(general(api, dev.attest(worker, round.index, ROOT, { key, seed: ROOT })), 'wrong seed');
		await refused(general(api, dev.attest(worker + 1, round.index, ROOT, { key, seed })), 'unknown worker');
		await refused(general(api, dev.attest(worker, round.index + 1_000, ROOT, { key, seed })), 'unknown round');
		const early = dev.batch(one.operator, round.index, [[worker, GOOD]]);
		await refused(general(api, dev.commit(early, { key: one.key, seed })), 'commit too early');
		const owner = await dev.free(dev.provider.address);
		await chain.submit(general(api, good));
		await dev.watch.event('popw.Attested', (e) => e.worker === worker && e.round === round.index);
		assert.equal(await dev.free(dev.provider.address), owner, 'it costs nothing');
		const other = `0x${'cd'.repeat(32)}`;
		await refused(general(api, dev.attest(worker, round.index, other, { key, seed })), 'twice');
	});

	await t.test('calls that are never fee-less', async () => {
		await refused(general(api, api.tx.providers.goOffline(worker)), 'not an authorized call');
		await refused(general(api, api.tx.balances.transferKeepAlive(one.account.address, 1)), 'a transfer');
		await refused(general(api, api.tx.popw.finalize([worker])), 'nothing to finalize');
		await refused(general(api, api.tx.popw.reportAbsent(worker, round.index)), 'it attested');
	});

	await t.test('commitments', async () => {
		await dev.phase(round, 2);
		state.batches = dev.checkers.map((checker) => ({
			batch: dev.batch(checker.operator, round.index, [[worker, GOOD]]),
			checker,
		}));
		const [{ batch }] = state.batches;
		await refused(general(api, dev.commit(batch)), 'no signature');
		await refused(general(api, dev.commit(batch, { key: dev.workerKey, seed })), 'wrong key');
		await refused(general(api, dev.commit({ ...batch, batch: 60_000 }, { key: one.key, seed })), 'batch too high');
		await refused(general(api, dev.commit({ ...batch, operator: 4_000 }, { key: one.key, seed })), 'unknown operator');
		await refused(general(api, dev.reveal(batch, { key: one.key, seed })), 'reveal too early');
		for (const { batch: own, checker } of state.batches) {
			await chain.submit(general(api, dev.commit(own, { key: checker.key, seed })));
		}
		for (const { checker } of state.batches) {
			await dev.watch.event(
				'popw.Committed',
				(e) => e.operator === checker.operator && e.round === round.index,
			);
		}
		await refused(general(api, dev.commit(batch, { key: one.key, seed })), 'twice');
	});

	await t.test('reveals', async () => {
		await dev.phase(round, 3);
		const [{ batch }] = state.batches;
		await refused(general(api, dev.reveal(batch)), 'no signature');
		await refused(general(api, dev.reveal(batch, { key: dev.workerKey, seed })), 'wrong key');
		await refused(
			general(api, dev.reveal({ ...batch, votes: [[worker, { ...GOOD, cpu: 4 }]] }, { key: one.key, seed })),
			'changed vote',
		);
		for (const { batch: own, checker } of state.batches) {
			await chain.submit(general(api, dev.reveal(own, { key: checker.key, seed })));
		}
		const closed = await dev.watch.event(
			'popw.CheckClosed',
			(e) => e.worker === worker && e.round === round.index,
		);
		assert.equal(closed.data.votes, 3, 'with the last vote it is closed');
		await refused(general(api, dev.reveal(batch, { key: one.key, seed })), 'twice');
	});
});

test('a due worker that does not attest is found offline, once, by anyone', async () => {
	const { api, chain, watch } = dev;
	const { worker } = state;
	const [, two] = dev.checkers;
	const round = await dev.due(worker);
	const report = api.tx.popw.reportAbsent(worker, round.index);
	assert.equal((await chain.trySend(two.account, report)).error, 'popw.WrongPhase');
	await dev.phase(round, 2);
	const before = await dev.free(two.account.address);
	const done = await chain.trySend(two.account, report);
	const { data } = await watch.event('popw.AbsentReported', (e) => e.worker === worker);
	if (done.error === null) {
		assert.equal(data.reporter, two.account.address);
		assert.ok((await dev.free(two.account.address)) >= before, 'a true report costs nothing');
	}
	const again = await chain.trySend(two.account, report);
	assert.ok(again.error, 'once');
	const info = plain(await api.query.providers.workers(worker));
	assert.equal(info.standings.now.value, 'Offline');
	assert.equal((await chain.view('Popw', 'is_due', [worker, round.index])).isTrue, false);
});
