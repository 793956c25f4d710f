// Forms of extrinsics without a signature, and the fees of those with one.

import { u8aConcat, u8aToHex } from '@polkadot/util';

import { compact } from './scale.mjs';

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

/** Returns the fee that was paid, from an extrinsic's events. */
export function feePaid(result) {
	const event = result.events.find(({ name }) => name === 'transactionPayment.TransactionFeePaid');
	return event ? BigInt(event.data.actualFee) : 0n;
}
