#!/usr/bin/env node
// Starts a development chain, and reports the steps from a worker's registration to its rewards as they
// happen. `scripts/dev.sh` runs it.

import { parseArgs } from 'node:util';

import { appLink } from './lib/chain.mjs';
import { Dev, MODEST, claim, detect } from './lib/dev.mjs';
import { feePaid } from './lib/extrinsics.mjs';
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

Starts kaisar-node --dev, registers this machine as a worker, and reports each step until rewards are
claimed. Then the chain runs until Ctrl-C.

  --once            end after the rewards are claimed
  --rpc-port PORT   RPC port of the node (default 9944; 0 for any)
  --bin-dir DIR     folder with kaisar-node and kaisar-agent
  --base-path DIR   folder for the chain's data, which is kept; without it, a temporary one
  --region XX       country to claim, ISO 3166-1 alpha-2 (default DE)
  --mbps N          bandwidth to claim in each direction, in Mb/s (default 100)`);
	process.exit(0);
}
if (options['bin-dir']) {
	process.env.KAISAR_BIN_DIR = options['bin-dir'];
}

const color = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code, text) => (color ? `\u001b[${code}m${text}\u001b[0m` : text);
const bold = (text) => paint('1', text);
const dim = (text) => paint('2', text);
const launched = Date.now();
let dev;
let firstBlock;

/** Prints a line of the story, with the time since the chain's first block. */
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
		// The containers are those of whoever runs this, without root or with any engine.
		args: ['--dev', '--agent-arg=--allow-lan', '--agent-arg=--allow-old-engine'],
		basePath: options['base-path'],
		logFile: process.env.KAISAR_NODE_LOG,
		rpcPort: Number(options['rpc-port']),
	});
	const { watch } = dev;
	await watch.block(1);
	firstBlock = Date.now() - (watch.last - 1) * 1000;
	const took = ((firstBlock - launched) / 1000).toFixed(0);
	tell(`the chain runs after ${took} s, with a block a second; each stands for 12 s of the chain's time`);
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
			`the smallest machine that counts has ${spec.cpuCores} cores: the claim has that number, which the short trial of development accepts`,
		);
	}
	const stake = minimumStake(spec) + 500n * KAI;
	const before = await dev.free(dev.provider.address);
	const { event, result, worker } = await dev.register(spec, { stake });
	tell(`//Provider registered this machine as worker ${bold(worker)}, which is ${bold('Pending')}`, event);
	more(
		`stake ${kai(stake)}, transaction fee ${kai(feePaid(result))}; ` +
			`balance ${kai(before)} → ${kai(await dev.free(dev.provider.address))}`,
	);
	const state = await verification(worker, spec);
	tell(`the committee confirmed the claim: worker ${worker} is ${bold('Online')}`, state);

	chapter('Time');
	tell('from now on the worker collects time, which a census proves at a moment that nobody knows in advance');
	let over = false;
	const { epoch, ended } = await epochWithTime(dev, worker, {
		onCensus: (round) => tellRound(worker, round, () => over),
		onEpoch: (end) =>
			tell(`epoch ${end.data.epoch} ended before any time was proved; waiting for the next one`, end),
	});

	over = true;

	chapter('Rewards');
	tell(`epoch ${bold(epoch)} ended`, ended);
	const rewards = await checkRewards(dev, worker, epoch);
	more(
		`${rewards.blocks} blocks emitted ${kai(rewards.emission)}: ${kai(rewards.workersPot)} for workers, ` +
			`${kai(rewards.checkersPot)} for checkers`,
	);
	more(
		`worker ${worker}: ${rewards.idle} idle blocks proved × boost ${Number(rewards.boost) / 1e9} × ` +
			`hardware ${Number(hardware(rewards.profile)) / 100} is the total score, so it earns the whole pot`,
	);
	const claimed = await rewards.claimWorker();
	tell(`//Provider claimed ${bold(kai(claimed.got))}`, claimed);
	more(`balance ${kai(claimed.before)} → ${kai(claimed.after)}, transaction fee ${kai(claimed.fee)}`);
	more(`by the formulas: ${kai(claimed.expected)} ${claimed.expected === claimed.got ? '(equal, to the unit)' : '(NOT EQUAL)'}`);
	for (const claim of await rewards.claimCheckers()) {
		tell(
			`//Checker${claim.number} claimed ${bold(kai(claim.got).replace('KAI', 'vKAI'))} for ${claim.correct} correct of ${claim.seats} seats`,
			claim,
		);
		more(
			`by the formulas: ${kai(claim.expected).replace('KAI', 'vKAI')} ${claim.expected === claim.got ? '(equal, to the unit)' : '(NOT EQUAL)'}`,
		);
		if (claim.expected !== claim.got) {
			throw new Error('the payment of a checker differs from the formulas');
		}
	}
	if (claimed.expected !== claimed.got) {
		throw new Error('the payment of the worker differs from the formulas');
	}
	const seconds = ((Date.now() - firstBlock) / 1000).toFixed(0);
	console.log(`\n${bold(`The story ended ${seconds} s after the chain's first block.`)}`);
}

/** Returns a claim that is raised to that of the smallest machine that counts. */
const smallest = (spec) => ({
	...spec,
	cpuCores: Math.max(spec.cpuCores, MODEST.cpuCores),
	diskGb: Math.max(spec.diskGb, MODEST.diskGb),
	memoryGb: Math.max(spec.memoryGb, MODEST.memoryGb),
});

/** Reports the rounds that verify the worker's claim. A machine that is too busy to show all of it lowers
 * its claim and is verified again. */
async function verification(worker, spec) {
	const { api, chain, watch } = dev;
	let claimed = spec;
	let since = 0;
	for (let attempt = 1; ; attempt += 1) {
		const forced = await watch.event('providers.WorkerForced', (e) => e.worker === worker, { since });
		more(`it is due in round ${forced.data.round}, which only verifies its claim`);

		chapter('A round');
		const { outcome } = await tellRound(worker, forced.data.round);
		if (!outcome.Online) {
			throw new Error(`the committee found ${JSON.stringify(outcome)} instead of Online`);
		}
		const decided = await dev.decided(worker, { since: forced.position });
		if (decided.name === 'providers.WorkerStateChanged') {
			return decided;
		}
		const { profile } = decided.data;
		if (attempt === 3) {
			throw new Error(`three committees did not confirm the claim; the last found: ${describe(profile)}`);
		}
		tell('the committee found less than claimed: this machine is too busy to show more now', decided);
		// Bandwidth and disk count as the committee finds them.
		claimed = { ...claimed, cpuCores: MODEST.cpuCores, memoryGb: MODEST.memoryGb };
		since = decided.position + 1;
		await watch.until(async () => {
			const { error } = await chain.trySend(dev.provider, api.tx.providers.updateWorker(worker, claimed));
			return error === null;
		}, 'a lower claim');
		tell('//Provider lowers the claim, and the worker is verified again');
	}
}

/** Reports a round of a worker, unless the story is past it, and returns the event that closed its check. */
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
	sayMore(`the seed drew the committee: operators ${seats.join(', ')}`);
	const closing = watch.event('popw.CheckClosed', mine);
	// It is awaited below. If it fails before that, the events awaited first fail too.
	closing.catch(() => {});
	// In the order of the events.
	for (const [name, what] of [
		['popw.Committed', 'measured, verified, and committed to its vote'],
		['popw.Revealed', 'revealed its vote'],
	]) {
		let since = attested.position;
		for (const _ of attested.data.committee) {
			const one = await Promise.race([watch.event(name, inRound, { since }), closing]);
			const told = (event) => say(`operator ${event.data.operator} ${what}`, { block: event.block });
			if (one.name !== name) {
				// The check is closed, and no further event will come.
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

/** If a signal ends this process, waits for that end, which comes after the cleanup. */
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
	console.error(`\n${paint('31', 'error:')} the story failed: ${error.message}`);
	if (dev?.node) {
		const routine = /Idle|Imported #|Prepared block|Starting consensus|Consensus with|lookup metadata/;
		const last = dev.node.lines.filter((line) => line.trim() && !routine.test(line)).slice(-15);
		console.error(`last lines of the node's log, without routine:\n  ${last.join('\n  ')}`);
	}
	console.error('advice: set KAISAR_NODE_LOG=/tmp/kaisar-node.log and run again, to keep the whole log of the node');
}
if (dev && code === 0 && !options.once) {
	console.log(`\nThe chain keeps running: ${appLink(dev.node.url, 'explorer')}\nPress Ctrl-C to end it.`);
	// From now on, Ctrl-C is the regular end.
	interrupted.code = 0;
	const how = await dev.node.exited;
	await endedBySignal();
	console.error(`error: the node ended unexpectedly: ${JSON.stringify(how)}`);
	code = 1;
}
await dev?.stop().catch(() => {});
process.exit(code);
