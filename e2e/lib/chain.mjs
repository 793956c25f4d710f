// A connection to a node, and helpers of the tests and the story for chains.

import { ApiPromise, Keyring, WsProvider } from '@polkadot/api';
import { hexToU8a, stringCamelCase, u8aConcat, u8aToHex } from '@polkadot/util';
import { cryptoWaitReady } from '@polkadot/util-crypto';

import { compact, possessionPayload } from './scale.mjs';

/** Connects as a wallet does: with the node's metadata, and without a type bundle. */
export async function connect(url) {
	await cryptoWaitReady();
	const provider = new WsProvider(url, 500, {}, 120_000);
	const api = new ApiPromise({ noInitWarn: true, provider, throwOnConnect: false });
	// Its "error" events are retries while the node starts; only the final result counts.
	api.on('error', () => {});
	await api.isReady;
	providers.set(api, provider);
	return api;
}
const providers = new WeakMap();

/** Submits an extrinsic's bytes unchanged (`api.rpc` would decode and encode them again). Fails with the
 * node's error. */
export const submit = (api, bytes) => providers.get(api).send('author_submitExtrinsic', [bytes]);

/** Converts a decoded value to plain data: bigints, numbers for small integers, strings. */
export function plain(codec) {
	if (codec === null || codec === undefined) {
		return codec;
	}
	if (Array.isArray(codec)) {
		return codec.map(plain);
	}
	// This is an `Option`; an enum has `isNone` as well.
	if (typeof codec.unwrapOr === 'function') {
		return codec.isSome ? plain(codec.unwrap()) : null;
	}
	if (codec instanceof Uint8Array) {
		return codec.toRawType?.() === 'AccountId' ? codec.toString() : u8aToHex(codec);
	}
	if (typeof codec.toBigInt === 'function' && !codec.toRawType?.().startsWith('{')) {
		const value = codec.toBigInt();
		return codec.bitLength?.() > 32 ? value : Number(value);
	}
	if (codec instanceof Map && typeof codec.toRawType === 'function') {
		// A struct is a map of its fields, a BTreeMap a map of its keys.
		return Object.fromEntries(
			[...codec.entries()].map(([key, value]) => [
				typeof key === 'string' ? stringCamelCase(key) : key.toString(),
				plain(value),
			]),
		);
	}
	if (codec.isTrue !== undefined) {
		return codec.isTrue;
	}
	if (codec.defKeys && codec.type) {
		return codec.inner && !codec.isBasic && codec.inner.toRawType?.() !== 'Null'
			? { [codec.type]: plain(codec.inner) }
			: codec.type;
	}
	if (typeof codec.toPrimitive === 'function') {
		return codec.toPrimitive();
	}
	return codec;
}

/** Returns the error of a dispatch: `Pallet.Error`, or the name of a built-in one. */
export function dispatchError(api, error) {
	if (error.isModule) {
		const { section, name } = api.registry.findMetaError(error.asModule);
		return `${section}.${name}`;
	}
	return error.type === 'Token' || error.type === 'Arithmetic'
		? `${error.type}.${error.value.type}`
		: error.type;
}

// Time without a block, in milliseconds, after which a chain with a block a second has stopped, however busy
// the machine is.
const STALLED = 180_000;

/** Watcher of a chain, which reads every block and keeps every event, so that no wait misses one. */
export class Watcher {
	/** Starts with the chain's best block, or continues from another watcher of the chain, whose node was
	 * restarted and may have lost its last blocks. */
	static async start(api, { onBlock, node, previous } = {}) {
		const watcher = new Watcher();
		watcher.api = api;
		watchers.set(api, watcher);
		watcher.waiters = new Set();
		watcher.extrinsics = new Map();
		watcher.onBlock = onBlock;
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
		while (this.last < number && !this.stopped) {
			const next = this.last + 1;
			const hash = await this.api.rpc.chain.getBlockHash(next);
			const at = await this.api.at(hash);
			const records = await at.query.system.events();
			// The bytes are read unchanged: decoded and encoded again, they might differ.
			const { extrinsics } = (await providers.get(this.api).send('chain_getBlock', [hash.toHex()])).block;
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
					error: event.method === 'ExtrinsicFailed' ? dispatchError(this.api, event.data[0]) : undefined,
					extrinsic: phase.isApplyExtrinsic ? phase.asApplyExtrinsic.toNumber() : null,
					hash: block.hash,
					name: `${event.section}.${event.method}`,
				});
			}
			this.blocks.push(block);
			this.onBlock?.(block);
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
			const found = await ask(this.api);
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

/** Returns an event's fields by name, in camel case; by position if they have no names. */
export function plainEvent(event) {
	const names = event.data.names;
	return names
		? Object.fromEntries(names.map((name, index) => [stringCamelCase(name), plain(event.data[index])]))
		: event.data.map(plain);
}

const nonces = new WeakMap();

/** Sealer of a manually sealed chain. It seals a block exactly when somebody waits for one, and once all
 * sent extrinsics are in the pool. So no phase of a round passes while a test computes, however slow the
 * machine is. */
export class Sealer {
	constructor(api, watch) {
		this.api = api;
		this.watch = watch;
		this.sending = 0;
		sealers.set(api, this);
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
const sealers = new WeakMap();
const watchers = new WeakMap();
// The interval between two looks for waits, in milliseconds; nothing depends on its length.
const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

/** Signs, sends and waits until the extrinsic is in a block. Fails if its dispatch fails. */
export async function send(api, signer, call, { tip = 0n } = {}) {
	const result = await trySend(api, signer, call, { tip });
	if (result.error) {
		const { method, section } = call.method;
		throw new Error(`${section}.${method} failed: ${result.error}`);
	}
	return result;
}

/** Does the same as `send`, and returns the dispatch's error by name instead of failing. Throws if the pool
 * refuses.
 *
 * The result is read from the blocks, where it cannot be missed, and not from the pool's status messages:
 * the pool omits some if a block becomes final before the pool has processed it. */
export async function trySend(api, signer, call, { tip = 0n } = {}) {
	const watch = watchers.get(api);
	const sealer = sealers.get(api);
	let bytes;
	if (sealer) {
		sealer.sending += 1;
	}
	try {
		// Nonces are counted here, so that several extrinsics can be sent for one block.
		const known = nonces.get(api) ?? new Map();
		nonces.set(api, known);
		const chain = (await api.rpc.system.accountNextIndex(signer.address)).toNumber();
		const nonce = Math.max(chain, known.get(signer.address) ?? 0);
		known.set(signer.address, nonce + 1);
		try {
			bytes = (await call.signAsync(signer, { nonce, tip })).toHex();
			await submit(api, bytes);
		} catch (error) {
			// The nonce is still unused.
			known.delete(signer.address);
			throw error;
		}
	} finally {
		if (sealer) {
			sealer.sending -= 1;
		}
	}
	const { method, section } = call.method;
	const found = await watch.extrinsic(bytes, `${section}.${method} of ${signer.address}`);
	return {
		error: found.events.find(({ name }) => name === 'system.ExtrinsicFailed')?.error ?? null,
		...found,
	};
}

/** Returns the fee that was paid, from an extrinsic's events. */
export function feePaid(result) {
	const event = result.events.find(({ name }) => name === 'transactionPayment.TransactionFeePaid');
	return event ? BigInt(event.data.actualFee) : 0n;
}

/** Returns a call as a *general* transaction: without a signature, and with every extension at its default.
 * The off-chain worker sends its authorized calls in this form. */
export function general(api, call) {
	const { extrinsic } = api.registry.metadata;
	const extensions = extrinsic.transactionExtensions ?? extrinsic.signedExtensions;
	const body = u8aConcat(
		// Version 5, general; extension version 0.
		Uint8Array.of(0b0100_0101, 0),
		...[...extensions].map(({ type }) =>
			api.registry.createTypeUnsafe(api.registry.createLookupType(type), []).toU8a(),
		),
		call.method.toU8a(),
	);
	return u8aToHex(u8aConcat(compact(body.length), body));
}

/** Returns a call as a *bare* extrinsic, the form of inherents. */
export function bare(call) {
	const body = u8aConcat(Uint8Array.of(0b0000_0101), call.method.toU8a());
	return u8aToHex(u8aConcat(compact(body.length), body));
}

/** Calls a pallet's view function, and decodes its value by the metadata. */
export async function view(api, pallet, name, args = [], at) {
	const found = api.registry.metadata.pallets.find((p) => p.name.toString() === pallet);
	const fn = found?.viewFunctions?.find((f) => f.name.toString() === name);
	if (!fn) {
		throw new Error(`the metadata has no view function ${pallet}.${name}`);
	}
	const input = u8aConcat(
		...[...fn.inputs].map((input, index) =>
			api.registry
				.createTypeUnsafe(api.registry.createLookupType(input.type), [args[index]])
				.toU8a(),
		),
	);
	const query = u8aConcat(fn.id.toU8a(true), compact(input.length), input);
	const answer = await api.rpc.state.call(
		'RuntimeViewFunction_execute_view_function',
		u8aToHex(query),
		...(at ? [at] : []),
	);
	const bytes = hexToU8a(answer.toHex());
	if (bytes[0] !== 0) {
		throw new Error(`${pallet}.${name}: error ${bytes[1]}`);
	}
	const inner = api.registry.createType('Bytes', bytes.subarray(1));
	return api.registry.createTypeUnsafe(api.registry.createLookupType(fn.output), [
		inner.toU8a(true),
	]);
}

/** Keys of the development chain. */
export class Keys {
	constructor() {
		this.sr25519 = new Keyring({ ss58Format: 42, type: 'sr25519' });
		this.ed25519 = new Keyring({ ss58Format: 42, type: 'ed25519' });
	}

	/** Returns the key pair of an account, or a node key. */
	pair(uri) {
		return this.sr25519.createFromUri(uri);
	}

	/** Returns an agent's key pair. */
	agent(uri) {
		return this.ed25519.createFromUri(uri);
	}

	/** Returns the proof that an account holds a node key and an agent key. */
	proof(role, genesis, account, key, agent) {
		const payload = possessionPayload(role, genesis, account.publicKey);
		return { agent: u8aToHex(agent.sign(payload)), key: u8aToHex(key.sign(payload)) };
	}
}

/** Returns a link that opens the chain in the polkadot.js app. */
export function appLink(url, path) {
	return `https://polkadot.js.org/apps/?rpc=${encodeURIComponent(url)}#/${path}`;
}
