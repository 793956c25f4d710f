#!/usr/bin/env node
// Starts a development chain and tells the main job as it happens. `scripts/dev.sh` runs it.

import { parseArgs } from 'node:util';

import { appLink, feePaid, trySend } from './lib/chain.mjs';
import { Dev, MODEST, claim, detect } from './lib/dev.mjs';
import { KAI, hardware, kai, minimumStake } from './lib/formulas.mjs';
import { interrupted } from './lib/node.mjs';
import { checkRewards, epochWithTime } from './lib/rewards.mjs';

const { values: options } = parseArgs({
	options: {
		'bin-dir': { type: 'string' },
		'base-path': { type: 'string' },
		help: { short: 'h', type: 'boolean' },
		mbps: { default: '100', type: 'string' },
		once: { type: 'boolean' },
		region: { default: 'DE', type: 'string' },
		'rpc-port': { default: '9944', type: 'string' },
	},
});
if (options.help) {
	console.log(`usage: story.mjs [--once] [--rpc-port PORT] [--bin-dir DIR] [--base-path DIR] [--region XX] [--mbps N]

Starts kaisar-node --dev, registers this machine as a worker and tells what happens until rewards are
claimed. Without --once the chain then runs on until Ctrl-C. --mbps is the bandwidth to claim.`);
	process.exit(0);
}
if (options['bin-dir']) {
	process.env.KAISAR_BIN_DIR = options['bin-dir'];
}

const colour = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code, text) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
const bold = (text) => paint('1', text);
const dim = (text) => paint('2', text);
const launched = Date.now();
let dev;
let firstBlock;

/** One line of the story, with the time since the chain's first block. */
function tell(text, { block, hash } = {}) {
	const seconds = ((Date.now() - (firstBlock ?? launched)) / 1000).toFixed(0).padStart(3);
	const where = block === undefined ? '' : dim(`  block ${block}`);
	console.log(`${dim(`${seconds} s`)}  ${text}${where}`);
	if (hash) {
		console.log(`       ${dim(appLink(dev.node.url, `explorer/query/${hash}`))}`);
	}
}
const more = (text) => console.log(`       ${text}`);
const chapter = (text) => console.log(`\n${bold(text)}`);

const TIERS = ['none', '1 of 4', '2 of 4', '3 of 4', '4 of 4'];
const describe = (profile) =>
	`bandwidth ${TIERS[profile.bandwidth]}, CPU ${TIERS[profile.cpu]}, memory ${TIERS[profile.memory]}, ` +
	`disk ${TIERS[profile.disk]}, ${profile.gpuCount ? `${profile.gpuCount} GPU of class ${profile.gpuClass}` : 'no GPU'}`;

async function story() {
	chapter('The chain');
	tell('starting kaisar-node --dev, with the agents of a provider and three checkers');
	dev = await Dev.start({
		args: ['--dev'],
		basePath: options['base-path'],
		logFile: process.env.KAISAR_NODE_LOG,
		rpcPort: Number(options['rpc-port']),
	});
	const { api, watch } = dev;
	await watch.block(1);
	firstBlock = Date.now() - (watch.last - 1) * 1000;
	const took = ((firstBlock - launched) / 1000).toFixed(0);
	tell(`it runs (it took ${took} s to start), a block a second; each stands for 12 s of the chain's time`);
	more(`RPC ${bold(dev.node.url)}, data in ${dev.node.basePath}`);
	more(appLink(dev.node.url, 'explorer'));

	chapter('A worker');
	const found = await detect({ mbps: Number(options.mbps), region: options.region });
	const spec = smallest(claim(found));
	tell(
		`kaisar-agent found ${found.cpu_cores} cores, ${found.memory_gb} GB of memory, ${found.disk_gb} GB of disk, ` +
			`${spec.gpuCount ? `${spec.gpuCount} GPU of class ${spec.gpuClass}` : 'no GPU'}`,
	);
	if (spec.cpuCores > found.cpu_cores) {
		more(
			`the smallest machine that counts has ${spec.cpuCores}: so many are claimed, which the short trial of development does not tell apart`,
		);
	}
	const stake = minimumStake(spec) + 500n * KAI;
	const before = await dev.free(dev.provider.address);
	const { event, result, worker } = await dev.register(spec, { stake });
	tell(`//Provider registered this machine as worker ${bold(worker)}: it is ${bold('Pending')}`, event);
	more(
		`stake ${kai(stake)}, transaction fee ${kai(feePaid(result))}; ` +
			`balance ${kai(before)} → ${kai(await dev.free(dev.provider.address))}`,
	);
	const state = await verification(worker, spec);
	tell(`the claim is confirmed: worker ${worker} is ${bold('Online')}`, state);

	chapter('Time');
	tell('from here on its time passes; a census, at a moment that nobody knows before, proves it');
	let over = false;
	const { epoch, ended } = await epochWithTime(dev, worker, {
		onCensus: (round) => tellRound(worker, round, () => over),
		onEpoch: (end) =>
			tell(`epoch ${end.data.epoch} ended with nothing proved yet; on to the next one`, end),
	});

	over = true;

	chapter('Rewards');
	tell(`epoch ${bold(epoch)} ended`, ended);
	const rewards = await checkRewards(dev, worker, epoch);
	more(
		`${kai(rewards.workersPot)} for workers, ${kai(rewards.checkersPot)} for checkers, of ` +
			`${kai(rewards.emission)} that ${rewards.blocks} blocks emitted`,
	);
	more(
		`worker ${worker}: ${rewards.idle} idle blocks proved × boost ${Number(rewards.boost) / 1e9} × ` +
			`hardware ${Number(hardware(rewards.profile)) / 100} of a total of the same: all of the pot`,
	);
	const claimed = await rewards.claimWorker();
	tell(`//Provider claimed ${bold(kai(claimed.got))}`, claimed);
	more(`balance ${kai(claimed.before)} → ${kai(claimed.after)}, the transaction fee was ${kai(claimed.fee)}`);
	more(`by the formulas: ${kai(claimed.expected)} ${claimed.expected === claimed.got ? '– the same, to the unit' : '– NOT THE SAME'}`);
	for (const claim of await rewards.claimCheckers()) {
		tell(
			`//Checker${claim.number} claimed ${bold(kai(claim.got).replace('KAI', 'vKAI'))} for ${claim.correct} of ${claim.seats} seats`,
			claim,
		);
		more(
			`by the formulas: ${kai(claim.expected).replace('KAI', 'vKAI')} ${claim.expected === claim.got ? '– the same, to the unit' : '– NOT THE SAME'}`,
		);
		if (claim.expected !== claim.got) {
			throw new Error('a checker was paid something else than the formulas say');
		}
	}
	if (claimed.expected !== claimed.got) {
		throw new Error('the worker was paid something else than the formulas say');
	}
	const seconds = ((Date.now() - firstBlock) / 1000).toFixed(0);
	console.log(`\n${bold(`The story ended ${seconds} s after the chain's first block.`)}`);
}

/** A claim, and at least that of the smallest machine that counts. */
const smallest = (spec) => ({
	...spec,
	cpuCores: Math.max(spec.cpuCores, MODEST.cpuCores),
	diskGb: Math.max(spec.diskGb, MODEST.diskGb),
	memoryGb: Math.max(spec.memoryGb, MODEST.memoryGb),
});

/** Tells the rounds that verify what the worker claims. A machine that is too busy to show all of it
 * claims less and is verified again. */
async function verification(worker, spec) {
	const { api, watch } = dev;
	let claimed = spec;
	let since = 0;
	for (let attempt = 1; ; attempt += 1) {
		const forced = await watch.event('providers.WorkerForced', (e) => e.worker === worker, { since });
		more(`it is due in round ${forced.data.round}, which only verifies what it claims`);

		chapter('A round');
		const { outcome } = await tellRound(worker, forced.data.round);
		if (!outcome.Online) {
			throw new Error(`the committee came to ${JSON.stringify(outcome)}`);
		}
		const decided = await dev.decided(worker, { since: forced.position });
		if (decided.name === 'providers.WorkerStateChanged') {
			return decided;
		}
		const { profile } = decided.data;
		if (attempt === 3) {
			throw new Error(`the committee did not confirm the claim: ${describe(profile)}`);
		}
		tell('that is less than was claimed: this machine is too busy to show more just now', decided);
		// Bandwidth and disk count as they are found.
		claimed = { ...claimed, cpuCores: MODEST.cpuCores, memoryGb: MODEST.memoryGb };
		since = decided.position + 1;
		await watch.until(async () => {
			const { error } = await trySend(api, dev.provider, api.tx.providers.updateWorker(worker, claimed));
			return error === null;
		}, 'a lower claim');
		tell('//Provider claims less, and the worker is verified again');
	}
}

/** Tells one round of a worker, unless the story has gone on, and returns how its check was closed. */
async function tellRound(worker, index, over = () => false) {
	const { watch } = dev;
	const say = (...what) => over() || tell(...what);
	const sayMore = (text) => over() || more(text);
	const inRound = (e) => e.round === index;
	const mine = (e) => inRound(e) && e.worker === worker;
	const started = await watch.event('popw.RoundStarted', inRound);
	say(
		`${started.data.kind === 'Census' ? 'census' : 'spot round'} ${bold(index)} started, seed ${started.data.seed.slice(0, 18)}…`,
		started,
	);
	const trial = await watch.event('popw.TrialStarted', inRound);
	say(`its trial began, seed ${trial.data.seed.slice(0, 18)}…`, trial);
	const attested = await watch.event('popw.Attested', mine);
	say(`the worker's node attested the root of its trial ${attested.data.root.slice(0, 18)}…`, attested);
	const seats = attested.data.committee.map(([operator, weight]) => `${operator} (weight ${weight})`);
	sayMore(`committee drawn by the seed: operators ${seats.join(', ')}`);
	const closing = watch.event('popw.CheckClosed', mine);
	// It is awaited below; until then its failure is the failure of what is awaited first.
	closing.catch(() => {});
	// In the order in which they come.
	for (const [name, what] of [
		['popw.Committed', 'measured, verified, and committed to its vote'],
		['popw.Revealed', 'revealed it'],
	]) {
		let since = attested.position;
		for (const _ of attested.data.committee) {
			const one = await Promise.race([watch.event(name, inRound, { since }), closing]);
			const told = (event) => say(`operator ${event.data.operator} ${what}`, { block: event.block });
			if (one.name !== name) {
				// The check is closed, and no more of them will come.
				watch.events.slice(since).filter((e) => e.name === name && inRound(e.data)).forEach(told);
				break;
			}
			since = one.position + 1;
			told(one);
		}
	}
	const closed = await closing;
	const { outcome, votes } = closed.data;
	const online = outcome.Online;
	say(`${votes} votes: ${bold(online ? 'online' : outcome)}`, closed);
	if (online?.profile) {
		sayMore(describe(online.profile));
	}
	return closed.data;
}

/** If a signal ends us, waits for that: all is cleaned up first. */
async function endedBySignal() {
	if (dev?.node.stopping) {
		await new Promise(() => {});
	}
}

let code = 0;
try {
	await story();
} catch (error) {
	await endedBySignal();
	code = 1;
	console.error(`\n${paint('31', 'error:')} the story broke off: ${error.message}`);
	if (dev?.node) {
		const routine = /Idle|Imported #|Prepared block|Starting consensus|Consensus with|lookup metadata/;
		const last = dev.node.lines.filter((line) => line.trim() && !routine.test(line)).slice(-15);
		console.error(`the last that the node said, routine left out:\n  ${last.join('\n  ')}`);
	}
	console.error('advice: run again with KAISAR_NODE_LOG=/tmp/kaisar-node.log to keep the node\'s whole log.');
}
if (dev && code === 0 && !options.once) {
	console.log(`\nThe chain runs on: ${appLink(dev.node.url, 'explorer')}\nCtrl-C ends it.`);
	// From here on that is how it ends.
	interrupted.code = 0;
	const how = await dev.node.exited;
	await endedBySignal();
	console.error(`the node ended: ${JSON.stringify(how)}`);
	code = 1;
}
await dev?.stop().catch(() => {});
process.exit(code);
