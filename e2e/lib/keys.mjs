// Keys of the development chain, and proofs that somebody holds them.

import { Keyring } from '@polkadot/api';
import { u8aToHex } from '@polkadot/util';

import { possessionPayload } from './scale.mjs';

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
