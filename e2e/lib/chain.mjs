// A connection to a node, over which the tests and the story read a chain and send extrinsics.

import { ApiPromise, WsProvider } from '@polkadot/api';
import { hexToU8a, u8aConcat, u8aToHex } from '@polkadot/util';
import { cryptoWaitReady } from '@polkadot/util-crypto';

import { compact } from './scale.mjs';
import { Sealer, Watcher } from './watch.mjs';

/** A chain, by a connection to one of its nodes. */
export class Chain {
	/** `ApiPromise` of the connection. */
	api;
	/** Sealer of the chain's blocks, from `startSealing` on. */
	sealer;
	/** Watcher of the chain's blocks, from `startWatch` on. */
	watch;
	// The next nonce of each account that has sent an extrinsic, by address.
	#nonces = new Map();
	#provider;

	/** Connects as a wallet does: with the node's metadata, and without a type bundle. */
	static async connect(url) {
		await cryptoWaitReady();
		const chain = new Chain();
		chain.#provider = new WsProvider(url, 500, {}, 120_000);
		chain.api = new ApiPromise({ noInitWarn: true, provider: chain.#provider, throwOnConnect: false });
		// Its "error" events are retries while the node starts; only the final result counts.
		chain.api.on('error', () => {});
		await chain.api.isReady;
		return chain;
	}

	/** Starts to watch the chain, which `send` and `trySend` need, and returns the watcher. Options are
	 * those of `Watcher.start`. */
	async startWatch(options) {
		this.watch = await Watcher.start(this, options);
		return this.watch;
	}

	/** Starts to seal the blocks of a manually sealed chain that is watched. */
	startSealing() {
		this.sealer = new Sealer(this);
	}

	/** Stops sealing and watching. */
	async stop() {
		await this.sealer?.stop();
		this.watch?.stop();
	}

	/** Closes the connection. */
	disconnect() {
		return this.api.disconnect();
	}

	/** Sends a plain request, whose answer is not decoded. */
	request(method, params) {
		return this.#provider.send(method, params);
	}

	/** Submits an extrinsic's bytes unchanged (`api.rpc` would decode and encode them again). Fails with the
	 * node's error. */
	submit(bytes) {
		return this.request('author_submitExtrinsic', [bytes]);
	}

	/** Signs, sends and waits until the extrinsic is in a block. Fails if its dispatch fails. */
	async send(signer, call, { tip = 0n } = {}) {
		const result = await this.trySend(signer, call, { tip });
		if (result.error) {
			const { method, section } = call.method;
			throw new Error(`${section}.${method} failed: ${result.error}`);
		}
		return result;
	}

	/** Does the same as `send`, and returns the dispatch's error by name instead of failing. Throws if the
	 * pool refuses.
	 *
	 * The result is read from the blocks, where it cannot be missed, and not from the pool's status
	 * messages: the pool omits some if a block becomes final before the pool has processed it. */
	async trySend(signer, call, { tip = 0n } = {}) {
		const { sealer, watch } = this;
		let bytes;
		if (sealer) {
			sealer.sending += 1;
		}
		try {
			bytes = await this.#signAndSubmit(signer, call, tip);
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

	/** Signs an extrinsic and submits it. Returns its bytes. */
	async #signAndSubmit(signer, call, tip) {
		// Nonces are counted here, so that several extrinsics can be sent for one block.
		const next = (await this.api.rpc.system.accountNextIndex(signer.address)).toNumber();
		const nonce = Math.max(next, this.#nonces.get(signer.address) ?? 0);
		this.#nonces.set(signer.address, nonce + 1);
		try {
			const bytes = (await call.signAsync(signer, { nonce, tip })).toHex();
			await this.submit(bytes);
			return bytes;
		} catch (error) {
			// The nonce is still unused.
			this.#nonces.delete(signer.address);
			throw error;
		}
	}

	/** Calls a pallet's view function, and decodes its value by the metadata. */
	async view(pallet, name, args = [], at) {
		const { registry, rpc } = this.api;
		const found = registry.metadata.pallets.find((p) => p.name.toString() === pallet);
		const fn = found?.viewFunctions?.find((f) => f.name.toString() === name);
		if (!fn) {
			throw new Error(`the metadata has no view function ${pallet}.${name}`);
		}
		const input = u8aConcat(
			...[...fn.inputs].map((input, index) =>
				registry.createTypeUnsafe(registry.createLookupType(input.type), [args[index]]).toU8a(),
			),
		);
		const query = u8aConcat(fn.id.toU8a(true), compact(input.length), input);
		const answer = await rpc.state.call(
			'RuntimeViewFunction_execute_view_function',
			u8aToHex(query),
			...(at ? [at] : []),
		);
		const bytes = hexToU8a(answer.toHex());
		if (bytes[0] !== 0) {
			throw new Error(`${pallet}.${name}: error ${bytes[1]}`);
		}
		const inner = registry.createType('Bytes', bytes.subarray(1));
		return registry.createTypeUnsafe(registry.createLookupType(fn.output), [inner.toU8a(true)]);
	}
}

/** Returns a link that opens the chain in the polkadot.js app. */
export function appLink(url, path) {
	return `https://polkadot.js.org/apps/?rpc=${encodeURIComponent(url)}#/${path}`;
}
