// A development chain: the node, a connection, the accounts, and the steps that several tests need.

import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';

import { u8aToHex } from '@polkadot/util';
import { randomAsU8a } from '@polkadot/util-crypto';

import { Chain } from './chain.mjs';
import { KAI } from './formulas.mjs';
import { Keys } from './keys.mjs';
import { Node, binary } from './node.mjs';
import { plain } from './plain.mjs';
import * as scale from './scale.mjs';

/** Claim of the smallest machine that the network rents out, without a GPU and with too little memory for a
 * tier. Any machine supports it, however busy: the short trial of development accepts the cores even of a
 * machine with fewer. */
export const MODEST = {
	arch: 'Amd64',
	cpuCores: 4,
	cuda: 0,
	diskGb: 100,
	downloadMbps: 75,
	driver: 0,
	gpuClass: 0,
	gpuCount: 0,
	memoryGb: 1,
	region: '0x4445',
	uploadMbps: 75,
};

/** Returns the workload of an order that only names an image. */
export const workload = (image) => ({
	args: [],
	deployBlocks: 0,
	env: [],
	failover: false,
	image: { Reference: image },
	ports: [],
	sealed: false,
});

/** Verdict that confirms `MODEST`. */
export const GOOD = {
	bandwidth: 1,
	cpu: 1,
	disk: 1,
	gpuClass: 0,
	gpuCount: 0,
	memory: 1,
	online: true,
	proof: true,
	service: true,
	timed: true,
};

/** Root that no trial has. */
const ROOT = `0x${'ab'.repeat(32)}`;

/** Returns the agent's description of this machine. The bandwidth is not that of a network: all four agents
 * share this machine and its cores, so the claim is low. */
export async function detect({ mbps = 100, region = 'DE' } = {}) {
	const bandwidth = ['--download-mbps', `${mbps}`, '--upload-mbps', `${mbps}`];
	const { stdout } = await promisify(execFile)(
		binary('kaisar-agent'),
		['detect', '--json', '--region', region, '--data-dir', tmpdir(), ...bandwidth],
		{ timeout: 120_000 },
	);
	return JSON.parse(stdout);
}

/** Returns the claim that `detect` printed, in the form of the call. */
export function claim(found) {
	return {
		arch: found.arch === 'arm64' ? 'Arm64' : 'Amd64',
		cpuCores: found.cpu_cores,
		cuda: found.cuda,
		diskGb: found.disk_gb,
		downloadMbps: found.download_mbps,
		driver: found.driver,
		gpuClass: found.gpu_class,
		gpuCount: found.gpu_count,
		memoryGb: found.memory_gb,
		region: u8aToHex(Buffer.from(found.region)),
		uploadMbps: found.upload_mbps,
	};
}

/** A development chain. */
export class Dev {
	/** Starts the node and connects. Options are those of `Node.start`, and `manual`: blocks are sealed when
	 * the test waits for them, and not by the clock. */
	static async start(options = {}) {
		const dev = new Dev();
		dev.options = options.manual
			? { ...options, args: [...options.args, '--sealing', 'manual'] }
			: options;
		dev.node = await Node.start(dev.options);
		try {
			await dev.attach();
		} catch (error) {
			await dev.stop();
			throw error;
		}
		return dev;
	}

	/** Connects to a running development chain, and reads all its events from block 1 on. */
	static async attachTo(url) {
		const dev = new Dev();
		dev.options = {};
		dev.node = { stop: async () => {}, url };
		dev.watch = { blocks: [], events: [], last: 1 };
		await dev.attach();
		const head = await dev.api.rpc.chain.getHeader();
		await dev.watch.block(head.number.toNumber());
		return dev;
	}

	/** Connects to the running node. */
	async attach() {
		this.chain = await Chain.connect(this.node.url);
		this.api = this.chain.api;
		this.genesis = this.api.genesisHash.toHex();
		this.watch = await this.chain.startWatch({ node: this.node, previous: this.watch });
		if (this.options.manual) {
			this.chain.startSealing();
		}
		this.keys ??= new Keys();
		this.sudo ??= this.keys.pair('//Alice');
		this.provider ??= this.keys.pair('//Provider');
		this.workerKey ??= this.keys.pair('//Provider//worker');
		this.workerAgent ??= this.keys.agent('//Provider//agent');
		this.checkers ??= [1, 2, 3].map((number) => ({
			account: this.keys.pair(`//Checker${number}`),
			key: this.keys.pair(`//Checker${number}//key`),
		}));
	}

	/** Closes the connection. */
	async detach() {
		await this.chain?.stop();
		await this.chain?.disconnect();
	}

	/** Ends the connection and the node. */
	async stop() {
		await this.detach().catch(() => {});
		await this.node.stop();
	}

	/** Restarts the node after `signal` on the same base path. */
	async restart(signal) {
		await this.chain.stop();
		await this.node.kill(signal);
		await this.chain.disconnect().catch(() => {});
		await this.node.stop();
		this.node = await Node.start(this.options);
		await this.attach();
	}

	/** Registers a worker of the provider, and returns its number. */
	async register(spec = MODEST, { account, agent, key, stake = 1_000n * KAI } = {}) {
		const owner = account ?? this.provider;
		const worker = key ?? this.workerKey;
		const its = agent ?? this.workerAgent;
		const since = this.watch.events.length;
		const result = await this.chain.send(
			owner,
			this.api.tx.providers.registerWorker(
				spec,
				worker.publicKey,
				its.publicKey,
				stake,
				this.keys.proof('Worker', this.genesis, owner, worker, its),
			),
		);
		const event = await this.watch.event('providers.WorkerRegistered', undefined, { since });
		return { event, result, worker: event.data.worker };
	}

	/** Waits until a committee has confirmed the worker's claim, from event `since` on. A machine that is
	 * too busy to show it is verified once more. */
	async confirmed(worker, { blocks, since = 0 } = {}) {
		let decided = await this.decided(worker, { blocks, since });
		if (decided.name !== 'providers.WorkerStateChanged') {
			const { spec } = plain(await this.api.query.providers.workers(worker));
			await this.chain.send(this.provider, this.api.tx.providers.updateWorker(worker, spec));
			decided = await this.decided(worker, { blocks, since: decided.position + 1 });
		}
		if (decided.name !== 'providers.WorkerStateChanged') {
			throw new Error(`the claim was not confirmed: ${JSON.stringify(decided.data.profile)}`);
		}
		return decided;
	}

	/** Waits until a committee has decided on the worker's claim. */
	async decided(worker, { blocks, since = 0 } = {}) {
		return Promise.race([
			this.watch.event(
				'providers.WorkerStateChanged',
				(e) => e.worker === worker && e.new === 'Online',
				{ blocks, since },
			),
			this.watch.event('providers.VerificationFailed', (e) => e.worker === worker, {
				blocks,
				since,
			}),
		]);
	}

	/** Brings a worker back that was found offline. Waits for the end of a running delay or check. */
	async bringBack(worker) {
		return this.watch.until(async () => {
			const { error } = await this.chain.trySend(this.provider, this.api.tx.providers.goOnline(worker));
			return error === null || error === 'providers.WrongState';
		}, `worker ${worker} back`);
	}

	/** Returns the operator's number of each checker's account. */
	async operators() {
		for (const checker of this.checkers) {
			checker.operator = plain(
				await this.api.query.checkers.numberOf(checker.account.address),
			);
		}
		return this.checkers;
	}

	/** Returns the running rounds. */
	async rounds() {
		return plain(await this.chain.view('Popw', 'rounds'));
	}

	/** Waits for the attest phase of the round in which the worker is due, and returns the round. */
	async due(worker, { fits = () => true, ...options } = {}) {
		return this.watch.until(
			async () => {
				for (const round of (await this.rounds()).filter(fits)) {
					const due = await this.chain.view('Popw', 'is_due', [worker, round.index]);
					if (due.isTrue && this.watch.last >= round.trial && this.watch.last < round.trial + round.phaseLength) {
						return round;
					}
				}
				return undefined;
			},
			`worker ${worker} due`,
			options,
		);
	}

	/** Waits until the next block is in a phase: 1 attest, 2 commit, 3 reveal, 4 over. */
	async phase(round, number) {
		await this.watch.block(round.trial + (number - 1) * round.phaseLength);
	}

	/** Returns a batch of votes, with its salt and the hash of the commitment. */
	batch(operator, round, votes, { batch = 0 } = {}) {
		const salt = u8aToHex(randomAsU8a(32));
		const input = { batch, genesis: this.genesis, operator, round, salt, votes };
		return { ...input, hash: u8aToHex(scale.commitment(input)) };
	}

	/** Returns the call that commits to a batch; with a key, as signed by the off-chain worker. */
	commit(batch, { key, seed, hash = batch.hash } = {}) {
		const signature = key
			? u8aToHex(key.sign(scale.commitPayload({ ...batch, hash, seed })))
			: null;
		return this.api.tx.popw.commit(batch.operator, batch.round, batch.batch, hash, signature);
	}

	/** Returns the call that reveals a batch; with a key, as signed by the off-chain worker. */
	reveal(batch, { key, seed } = {}) {
		const signature = key ? u8aToHex(key.sign(scale.revealPayload({ ...batch, seed }))) : null;
		return this.api.tx.popw.reveal(
			batch.operator,
			batch.round,
			batch.batch,
			batch.votes,
			batch.salt,
			signature,
		);
	}

	/** Returns the call that attests; with a key, as signed by the off-chain worker. */
	attest(worker, round, root, { key, seed } = {}) {
		const signature = key
			? u8aToHex(
					key.sign(scale.attestPayload({ genesis: this.genesis, root, round, seed, worker })),
				)
			: null;
		return this.api.tx.popw.attest(worker, round, root, signature);
	}

	/** Drives a worker's next check by signed extrinsics, in which all checkers vote for it. Returns the
	 * round. */
	async check(worker, { fits = () => true } = {}) {
		const round = await this.due(worker, { fits });
		await this.chain.send(this.provider, this.attest(worker, round.index, ROOT));
		await this.phase(round, 2);
		const batches = this.checkers.map((checker) => ({
			account: checker.account,
			batch: this.batch(checker.operator, round.index, [[worker, GOOD]]),
		}));
		await Promise.all(
			batches.map(({ account, batch }) => this.chain.send(account, this.commit(batch))),
		);
		await this.phase(round, 3);
		await Promise.all(
			batches.map(({ account, batch }) => this.chain.send(account, this.reveal(batch))),
		);
		return round;
	}

	/** Returns the free balance of an account. */
	async free(address) {
		return (await this.api.query.system.account(address)).data.free.toBigInt();
	}
}
