// Tests the economy on one node without agents: licenses are bought, stake is delegated, rewards are shared,
// redeemed and slashed, all by signed extrinsics, and compared with the formulas to the unit.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Dev } from '../lib/dev.mjs';
import { feePaid } from '../lib/extrinsics.mjs';
import { KAI, member, membersPart } from '../lib/formulas.mjs';
import { plain } from '../lib/plain.mjs';

const COMMISSION = 200_000_000;
const STAKE = 4_000n * KAI;

let dev;
let buyer;
before(async () => {
	// Blocks are sealed when the test waits for them, so it cannot miss a phase.
	dev = await Dev.start({ args: ['--dev', '--no-agents'], manual: true });
	await dev.operators();
	buyer = dev.keys.pair('//Bob');
});
after(async () => {
	await dev?.stop();
});

/** Returns the data of the only event of this name that an extrinsic emitted. */
function event(result, name) {
	const found = result.events.filter((one) => one.name === name);
	assert.equal(found.length, 1, name);
	return found[0].data;
}

/** Returns the running epoch. */
const epoch = async () => plain(await dev.api.query.rewards.current()).index;

/** Waits until epoch `index` has begun. */
const untilEpoch = (index) =>
	dev.watch.until(async () => (await epoch()) >= index, `epoch ${index}`, { blocks: 800 });

test('licenses are sold with a discount, and the referrer earns its part', async () => {
	const { api, chain } = dev;
	const [{ account: referrer }] = dev.checkers;
	const { purchase } = api.tx.licenses;
	for (const [call, error] of [
		[purchase(0, null), 'licenses.ZeroCount'],
		[purchase(1, buyer.address), 'licenses.SelfReferral'],
		[purchase(1, dev.sudo.address), 'licenses.ReferrerWithoutLicense'],
		[purchase(1_000_000, null), 'licenses.TooManyAtOnce'],
	]) {
		assert.equal((await chain.trySend(buyer, call)).error, error);
	}
	const before = [await dev.free(buyer.address), await dev.free(referrer.address)];
	const result = await chain.send(buyer, purchase(2, referrer.address));
	const { count, first, paid } = event(result, 'licenses.LicensePurchased');
	assert.deepEqual([count, paid], [2, (2n * 2_600n * KAI * 95n) / 100n]);
	const after = [await dev.free(buyer.address), await dev.free(referrer.address)];
	assert.equal(before[0] - after[0], paid + feePaid(result));
	assert.equal(after[1] - before[1], paid / 10n);

	// Wallets see them as items, and they cannot be transferred for a year.
	const collection = plain(await chain.view('Licenses', 'collection'));
	const item = plain(await api.query.nfts.item(collection, first));
	assert.equal(item.owner, buyer.address);
	const metadata = await api.query.nfts.itemMetadataOf(collection, first);
	assert.match(metadata.unwrap().data.toUtf8(), new RegExp(`${first}`));
	const moved = await chain.trySend(buyer, api.tx.nfts.transfer(collection, first, referrer.address));
	assert.equal(moved.error, 'nfts.ItemLocked');
});

test('a license works for another, from the next round, until it is revoked', async () => {
	const { api, chain } = dev;
	const [, { account, operator }] = dev.checkers;
	const license = plain(await chain.view('Licenses', 'minted')) - 1;
	const delegate = api.tx.checkers.delegateLicense(license, account.address);
	assert.equal((await chain.trySend(dev.sudo, delegate)).error, 'checkers.NotHolder');
	const done = await chain.send(buyer, delegate);
	const { activeFrom } = event(done, 'checkers.DelegationAccepted');
	assert.ok((await dev.rounds()).every(({ index }) => index < activeFrom), 'not in a round that runs');
	assert.equal((await chain.trySend(buyer, delegate)).error, 'checkers.AlreadyDelegated');
	const pool = { Checker: operator };
	const shares = async () =>
		plain(await chain.view('Rewards', 'member', [pool, buyer.address]))?.shares ?? 0n;
	assert.equal(BigInt(await shares()), 1n);
	await chain.send(buyer, api.tx.checkers.revokeDelegation(license));
	assert.equal(BigInt(await shares()), 0n);
	const again = await chain.trySend(buyer, api.tx.checkers.revokeDelegation(license));
	assert.equal(again.error, 'checkers.NotDelegated');
});

const state = {};

test('a delegator shares the reward of whole epochs, by stake', async () => {
	const { api, chain } = dev;
	const { worker } = await dev.register();
	state.worker = worker;
	await chain.send(dev.provider, api.tx.providers.setCommission(worker, COMMISSION));
	await chain.send(buyer, api.tx.providers.stake(worker, STAKE));
	const least = await chain.trySend(dev.sudo, api.tx.providers.stake(worker, 1));
	assert.equal(least.error, 'providers.DelegationTooSmall');
	await dev.check(worker);
	assert.equal(plain(await api.query.providers.workers(worker)).standings.now.value, 'Online');

	// The commission is in force after notice of a whole epoch, and the stake counts from the next epoch on.
	const paid = (await epoch()) + 2;
	await untilEpoch(paid);
	await dev.check(worker, { fits: ({ index }) => index % 2 === 1 });
	assert.equal(await epoch(), paid, 'the check was closed in time');
	await untilEpoch(paid + 1);

	const { idleReward, scores } = plain(await api.query.rewards.epochs(paid));
	assert.ok(scores.idle > 0n);
	const { own } = plain(await api.query.providers.workers(worker)).pool;
	const part = membersPart(idleReward, COMMISSION, { eligible: STAKE, owner: own });
	const pool = { Worker: worker };
	const claimable = plain(await chain.view('Rewards', 'claimable_by', [pool, buyer.address]));
	const before = await dev.free(buyer.address);
	const claimed = await chain.send(buyer, api.tx.rewards.claimDelegation(pool));
	const { amount } = event(claimed, 'rewards.DelegationClaimed');
	assert.equal(amount, member([part], STAKE));
	assert.equal(amount, claimable);
	assert.equal(await dev.free(buyer.address), before + amount - feePaid(claimed));
	const again = await chain.trySend(buyer, api.tx.rewards.claimDelegation(pool));
	assert.equal(again.error, 'rewards.NothingToClaim');

	const owner = await chain.send(dev.provider, api.tx.rewards.claimWorker(worker));
	assert.equal(event(owner, 'rewards.WorkerClaimed').amount, idleReward - part);
});

test('vKAI is redeemed at once for a quarter of its value, and the rest is forfeited', async () => {
	const { api, chain } = dev;
	const [{ account }] = dev.checkers;
	await chain.send(account, api.tx.rewards.claimChecker());
	const vkai = async () => plain(await chain.view('Rewards', 'vkai', [account.address]));
	const all = await vkai();
	assert.ok(all > KAI);
	const redeem = (amount, term) => api.tx.rewards.redeem(amount, term);
	for (const [call, error] of [
		[redeem(KAI - 1n, 'Days30'), 'rewards.RedemptionTooSmall'],
		[redeem(all + 1n, 'Days180'), 'rewards.InsufficientVKai'],
		[api.tx.rewards.withdrawRedemption(7), 'rewards.UnknownRedemption'],
	]) {
		assert.equal((await chain.trySend(account, call)).error, error);
	}
	const started = event(await chain.send(account, redeem(KAI, 'Days30')), 'rewards.RedemptionStarted');
	assert.deepEqual([started.amount, started.pays], [KAI, KAI / 4n]);
	assert.equal(await vkai(), all - KAI);
	const early = await chain.trySend(account, api.tx.rewards.withdrawRedemption(started.id));
	assert.equal(early.error, 'rewards.RedemptionNotDue');
});

test('a slash takes from all parts of a pool, and the pot gets the amount', async () => {
	const { api, chain } = dev;
	const { worker } = state;
	const { slash, unstake, withdrawUnbonded } = api.tx.providers;
	assert.equal((await chain.trySend(buyer, slash(worker, 'Three'))).error, 'BadOrigin');
	const record = plain(await api.query.providers.workers(worker));
	await chain.send(buyer, unstake(worker, STAKE / 2n));
	assert.equal(
		(await chain.trySend(buyer, withdrawUnbonded(worker))).error,
		'providers.NothingToWithdraw',
	);
	const result = await chain.send(dev.sudo, api.tx.sudo.sudo(slash(worker, 'Three')));
	const taken = event(result, 'providers.Slashed');
	assert.equal(taken.own, record.pool.own);
	assert.equal(taken.delegated + taken.unbonding, STAKE);
	const put = event(result, 'rewards.PotFunded');
	assert.deepEqual([put.pot, put.amount], ['Providers', record.pool.own + STAKE]);
	assert.equal(plain(await api.query.providers.workers(worker)).standings.now.value, 'Suspended');
});
