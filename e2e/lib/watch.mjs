// Watches a chain's blocks and events, and seals blocks where a test decides when.

import { dispatchError, plainEvent } from './plain.mjs';

// Time without a block, in milliseconds, after which a chain with a block a second has stopped, however busy
// the machine is.
const STALLED = 180_000;

/** Watcher of a chain, which reads every block and keeps every event, so that no wait misses one. */
export class Watcher {
	/** Starts with the chain's best block, or continues from another watcher of the chain, whose node was
	 * restarted and may have lost its last blocks. */
	static async start(chain, { node, previous } = {}) {
		const { api } = chain;
		const watcher = new Watcher();
		watcher.chain = chain;
		watcher.waiters = new Set();
		watcher.extrinsics = new Map();
		const head = (await api.rpc.chain.getHeader()).number.toNumber();
		const from = Math.min(head, previous?.last ?? head);
		watcher.events = previous?.events.filter(({ block }) => block < from) ?? [];
		watcher.blocks = previous?.blocks.filter(({ number }) => number < from) ?? [];
		watcher.last = from - 1;
		let queue = Promise.resolve();
		watcher.unsubscribe = await api.rpc.chain.subscribeNewHeads((header) => {
			queue = queue
				.then(() => watcher.#upTo(header.number.toNumber()))
				.catch((error) => watcher.fail(error));
		});
		watcher.moved = Date.now();
		watcher.timer = setInterval(() => {
			if (watcher.waiters.size > 0 && Date.now() - watcher.moved > STALLED) {
				watcher.fail(new Error(`no block came after block ${watcher.last} for ${STALLED / 1000} s`));
			}
		}, 5_000).unref();
		node?.exited?.then((how) => {
			if (!watcher.stopped) {
				watcher.fail(new Error(`the node ended: ${JSON.stringify(how)}`));
			}
		});
		return watcher;
	}

	async #upTo(number) {
		const { api } = this.chain;
		while (this.last < number && !this.stopped) {
			const next = this.last + 1;
			const hash = await api.rpc.chain.getBlockHash(next);
			const at = await api.at(hash);
			const records = await at.query.system.events();
			// The bytes are read unchanged: decoded and encoded again, they might differ.
			const { extrinsics } = (await this.chain.request('chain_getBlock', [hash.toHex()])).block;
			const block = { hash: hash.toHex(), number: next };
			for (const [index, bytes] of extrinsics.entries()) {
				this.extrinsics.set(bytes, { block: next, hash: block.hash, index });
			}
			this.last = next;
			this.moved = Date.now();
			for (const { event, phase } of records) {
				this.events.push({
					block: next,
					data: plainEvent(event),
					error: event.method === 'ExtrinsicFailed' ? dispatchError(api, event.data[0]) : undefined,
					extrinsic: phase.isApplyExtrinsic ? phase.asApplyExtrinsic.toNumber() : null,
					hash: block.hash,
					name: `${event.section}.${event.method}`,
				});
			}
			this.blocks.push(block);
			for (const waiter of [...this.waiters]) {
				waiter.look();
			}
		}
	}

	/** Fails all current and future waits with this error. */
	fail(error) {
		this.failure = error;
		for (const waiter of [...this.waiters]) {
			waiter.reject(error);
		}
	}

	#wait(find, what, blocks) {
		return new Promise((resolve, reject) => {
			const deadline = this.last + blocks;
			const waiter = {
				look: () => {
					try {
						const found = find();
						if (found !== undefined) {
							this.waiters.delete(waiter);
							resolve(found);
						} else if (this.last >= deadline) {
							waiter.reject(
								new Error(
									`${what} did not happen by block ${this.last}; the last events of ours: ${this.ours(12)}`,
								),
							);
						}
					} catch (error) {
						waiter.reject(error);
					}
				},
				reject: (error) => {
					this.waiters.delete(waiter);
					reject(error);
				},
			};
			if (this.failure) {
				reject(this.failure);
				return;
			}
			if (this.waiters.size === 0) {
				// Without a wait, a manually sealed chain makes no blocks.
				this.moved = Date.now();
			}
			this.waiters.add(waiter);
			waiter.look();
		});
	}

	/** Returns the last events of our pallets, for messages. */
	ours(count) {
		return this.events
			.filter(({ name }) => /^(providers|licenses|checkers|popw|rewards|orders)\./.test(name))
			.slice(-count)
			.map(
				({ block, data, name }) =>
					`\n  #${block} ${name} ${JSON.stringify(data, (_, v) => (typeof v === 'bigint' ? v.toString() : v))}`,
			)
			.join('');
	}

	/** Waits for the first event of this name that fits, from the position `since` in `events` on. */
	async event(name, fits = () => true, { since = 0, blocks = 150 } = {}) {
		let position = since;
		return this.#wait(
			() => {
				for (; position < this.events.length; position += 1) {
					const event = this.events[position];
					if (event.name === name && fits(event.data, event)) {
						return { ...event, position };
					}
				}
				return undefined;
			},
			name,
			blocks,
		);
	}

	/** Waits until the extrinsic of these bytes is in a block. Returns the block, and the extrinsic's
	 * events. */
	async extrinsic(bytes, what, { blocks = 30 } = {}) {
		const { block, hash, index } = await this.#wait(
			() => this.extrinsics.get(bytes),
			`the inclusion of ${what}`,
			blocks,
		);
		const events = this.events.filter((event) => event.block === block && event.extrinsic === index);
		return { block, events, hash, index };
	}

	/** Waits for block `number`. */
	async block(number, { blocks = Math.max(number - this.last, 0) + 5 } = {}) {
		return this.#wait(() => (this.last >= number ? number : undefined), `block ${number}`, blocks);
	}

	/** Waits until `ask(api at a block)` returns a truthy value; it is called once a block. */
	async until(ask, what, { blocks = 150 } = {}) {
		const deadline = this.last + blocks;
		for (;;) {
			const found = await ask(this.chain.api);
			if (found) {
				return found;
			}
			if (this.last >= deadline) {
				throw new Error(`${what} did not happen by block ${this.last}: ${this.ours(12)}`);
			}
			await this.block(this.last + 1);
		}
	}

	/** Returns the events of this name so far. */
	all(name, fits = () => true) {
		return this.events.filter((event) => event.name === name && fits(event.data, event));
	}

	/** Stops watching. */
	stop() {
		this.stopped = true;
		clearInterval(this.timer);
		this.unsubscribe?.();
	}
}

// The interval between two looks for waits, in milliseconds; nothing depends on its length.
const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

/** Sealer of a manually sealed chain. It seals a block exactly when somebody waits for one, and once all
 * sent extrinsics are in the pool. So no phase of a round passes while a test computes, however slow the
 * machine is. */
export class Sealer {
	constructor({ api, watch }) {
		this.api = api;
		this.watch = watch;
		this.sending = 0;
		this.done = this.#run().catch((error) => {
			if (!this.stopped) {
				watch.fail(error);
			}
		});
	}

	async #run() {
		while (!this.stopped) {
			if (this.sending === 0 && this.watch.waiters.size > 0) {
				// One block at a time: every wait sees it before the next one is sealed.
				const next = this.watch.last + 1;
				await this.api.rpc.engine.createBlock(true, false);
				while (this.watch.last < next && !this.watch.failure && !this.stopped) {
					await pause();
				}
			}
			await pause();
		}
	}

	/** Stops sealing. */
	async stop() {
		this.stopped = true;
		await this.done;
	}
}
