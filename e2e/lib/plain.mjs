// Turns decoded values, events and errors into plain data.

import { stringCamelCase, u8aToHex } from '@polkadot/util';

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

/** Returns an event's fields by name, in camel case; by position if they have no names. */
export function plainEvent(event) {
	const names = event.data.names;
	return names
		? Object.fromEntries(names.map((name, index) => [stringCamelCase(name), plain(event.data[index])]))
		: event.data.map(plain);
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
