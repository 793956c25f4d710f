// Computes the payments of an epoch from the chain's events and the formulas, and compares them with the
// actual ones.

import { feePaid } from './extrinsics.mjs';
import {
	boost,
	censusCredit,
	checkerScore,
	emissionBetween,
	lesser,
	member,
	membersPart,
	part,
	pots,
	releasedUpTo,
	score,
	share,
} from './formulas.mjs';
import { plain } from './plain.mjs';

/** Stake with which the boost is 2, in units. */
const MAX_STAKE = 50_000n * 10n ** 18n;

/** Waits until an epoch ends in which time of the worker was proved.
 *
 * - `onCensus(round)`: called and awaited for each round in which the worker is due;
 * - `onEpoch(event)`: called for each epoch that ended before any time was proved.
 */
export async function epochWithTime(dev, worker, { onCensus, onEpoch, since = 0 } = {}) {
	const { watch } = dev;
	let position = since;
	const census = (async () => {
		let at = since;
		while (onCensus) {
			const attested = await watch.event(
				'popw.Attested',
				(e) => e.worker === worker && e.round % 2 === 1,
				{ blocks: 1_000, since: at },
			);
			at = attested.position + 1;
			await onCensus(attested.data.round);
		}
	})();
	// Only its failures matter, and they also reach the wait below.
	census.catch(() => {});
	for (;;) {
		const ended = await watch.event('rewards.EpochEnded', undefined, {
			blocks: 1_000,
			since: position,
		});
		if (BigInt(ended.data.pocScore) > 0n) {
			return { ended, epoch: ended.data.epoch };
		}
		position = ended.position + 1;
		onEpoch?.(ended);
	}
}

/** Parameters of rounds on the development chain. */
const ROUNDS = { checkPeriod: 1, phaseLength: 10 };

/** Returns the idle blocks that each census proved, counted from the events: a census that confirms an idle
 * worker and decides its hardware stands for the mean interval, with the lesser of the profiles before and
 * after it. */
export async function provedTime(dev, worker) {
	const { api, watch } = dev;
	const proved = [];
	let known;
	for (const { block, data, name } of watch.events) {
		if (name !== 'popw.CheckClosed' || data.worker !== worker) {
			continue;
		}
		const profile = data.outcome.Online?.profile;
		if (!profile) {
			continue;
		}
		// Odd rounds are censuses, which check no other worker here.
		if (data.round % 2 === 1) {
			const round = plain(await api.query.popw.rounds(data.round));
			proved.push({
				block,
				idle: censusCredit(round, ROUNDS),
				profile: known ? lesser(known, profile) : profile,
				round: data.round,
			});
		}
		known = profile;
	}
	return proved;
}

/** Returns the expected totals of the epochs up to `last`. */
async function expectations(dev, worker, last) {
	const { api, chain } = dev;
	const proved = await provedTime(dev, worker);
	const record = plain(await api.query.providers.workers(worker));
	const reserve = (await api.query.rewards.reserve()).toBigInt();
	const epochs = [];
	let carriedWorkers = 0n;
	let carriedCheckers = 0n;
	for (let index = 0; index <= last; index += 1) {
		const noted = plain(await api.query.rewards.epochs(index));
		const { end, start } = noted;
		const emission = emissionBetween(start - 1, end);
		const mine = proved.filter(({ block }) => block >= start && block <= end);
		const poc = mine.reduce(
			(sum, { idle, profile }) => sum + score(idle, record.pool.own, MAX_STAKE, profile),
			0n,
		);
		const workers = pots(carriedWorkers + part(emission, 50), poc, 0n);
		carriedWorkers = workers.carried;

		const hash = await api.rpc.chain.getBlockHash(end);
		const operators = [];
		for (const checker of dev.checkers) {
			const pool = { Checker: checker.operator };
			const counts = plain(await chain.view('Rewards', 'running_score', [pool], hash.toHex()))?.Checker?.counts;
			operators.push(
				counts?.epoch === index
					? { correct: counts.correct, seats: counts.seats }
					: { correct: 0, seats: 0 },
			);
		}
		const scores = operators.map(({ correct, seats }) => checkerScore(correct, seats));
		const all = scores.reduce((a, b) => a + b, 0n);
		const put =
			carriedCheckers +
			part(emission, 20) +
			releasedUpTo(reserve, end) -
			releasedUpTo(reserve, start - 1);
		const checkersPot = all === 0n ? 0n : put;
		carriedCheckers = put - checkersPot;
		epochs.push({
			blocks: end - start + 1,
			checkersPot,
			emission,
			mine,
			noted,
			operators: operators.map((one, i) => ({
				...one,
				reward: share(scores[i], checkersPot, all),
			})),
			poc,
			// It is the only worker of the chain, so its score is the total.
			worker: share(poc, workers.poc, poc),
			workersPot: workers.poc,
		});
	}
	return { epochs, record };
}

/** Returns the payments of the epochs up to `last` to the worker and to the three checkers, none of whom has
 * claimed before, and functions that claim and compare. */
export async function checkRewards(dev, worker, last) {
	const { api, chain } = dev;
	await dev.operators();
	const { epochs, record } = await expectations(dev, worker, last);
	const epoch = epochs[last];
	return {
		blocks: epoch.blocks,
		boost: boost(record.pool.own, MAX_STAKE),
		checkersPot: epoch.checkersPot,
		emission: epoch.emission,
		epochs,
		idle: epoch.mine.reduce((sum, { idle }) => sum + idle, 0),
		profile: epoch.mine.at(-1)?.profile ?? record.profile,
		workersPot: epoch.workersPot,

		/** Claims for the worker. `got` is the growth of the owner's balance plus the fee. */
		async claimWorker() {
			const result = await chain.send(dev.provider, api.tx.rewards.claimWorker(worker));
			const header = await api.rpc.chain.getHeader(result.hash);
			const free = async (hash) =>
				(
					await (await api.at(hash)).query.system.account(dev.provider.address)
				).data.free.toBigInt();
			const before = await free(header.parentHash);
			const after = await free(result.hash);
			const fee = feePaid(result);
			return {
				after,
				before,
				block: header.number.toNumber(),
				expected: epochs.reduce((sum, one) => sum + one.worker, 0n),
				fee,
				got: after - before + fee,
				hash: result.hash,
			};
		},

		/** Claims for each checker with earnings: those as an operator, and those of the licenses that it
		 * holds itself. `got` is the total growth of its vKAI. */
		async claimCheckers() {
			const claims = [];
			for (const [index, checker] of dev.checkers.entries()) {
				const mine = epochs.map(({ operators }) => operators[index]);
				const sum = (field) => mine.reduce((total, one) => total + one[field], 0);
				if (mine.every(({ reward }) => reward === 0n)) {
					continue;
				}
				const { commission, licenses } = plain(
					await api.query.checkers.operators(checker.operator),
				);
				const eligible = licenses.now.value;
				// All licenses that it operates are its own, and exist since the first block.
				const own = mine.map(({ reward }) => ({
					holders: membersPart(reward, commission.now.value, { eligible }),
					reward,
				}));
				const expected =
					own.reduce((total, { holders, reward }) => total + reward - holders, 0n) +
					member(own.map(({ holders }) => holders), eligible);
				const vkai = async () => plain(await api.query.rewards.vKai(checker.account.address));
				const before = await vkai();
				await chain.send(checker.account, api.tx.rewards.claimChecker());
				const pool = { Checker: checker.operator };
				const result = await chain.send(checker.account, api.tx.rewards.claimDelegation(pool));
				const header = await api.rpc.chain.getHeader(result.hash);
				claims.push({
					block: header.number.toNumber(),
					correct: sum('correct'),
					expected,
					got: (await vkai()) - before,
					hash: result.hash,
					number: index + 1,
					seats: sum('seats'),
				});
			}
			return claims;
		},
	};
}
