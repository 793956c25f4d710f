// Tests a flood on one node without agents: a pool full of expensive signed calls does not keep an
// attestation out of the next block, whatever tips they pay.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Dev, GOOD } from '../lib/dev.mjs';
import { general } from '../lib/extrinsics.mjs';
import { KAI } from '../lib/formulas.mjs';

const ROOT = `0x${'cd'.repeat(32)}`;
const FLOOD = 100;

let dev;
before(async () => {
	dev = await Dev.start({ args: ['--dev', '--no-agents'], manual: true });
	await dev.operators();
});
after(async () => {
	await dev?.stop();
});

test('an attestation comes before a hundred operational calls with tips', async () => {
	const { api, chain, watch } = dev;
	const { worker } = await dev.register();
	const round = await dev.due(worker);
	const flooder = dev.keys.pair('//Bob');
	const first = (await api.rpc.system.accountNextIndex(flooder.address)).toNumber();
	const votes = Array.from({ length: 64 }, (_, index) => [index, GOOD]);
	// Each takes a twentieth of a block, and is certain to fail.
	const reveal = api.tx.popw.reveal(0, round.index, 0, votes, ROOT, null);
	for (let index = 0; index < FLOOD; index += 1) {
		const signed = await reveal.signAsync(flooder, { nonce: first + index, tip: KAI });
		await chain.submit(signed.toHex());
	}
	const { workerKey: key } = dev;
	await chain.submit(general(api, dev.attest(worker, round.index, ROOT, { key, seed: round.seed })));
	const multiplier = async () => (await api.query.transactionPayment.nextFeeMultiplier()).toBigInt();
	const before = await multiplier();
	const next = watch.last + 1;
	await watch.block(next);

	const attested = watch.all('popw.Attested', (e) => e.worker === worker);
	assert.equal(attested[0]?.block, next, 'it is in the block that was built from the whole pool');
	const hash = await api.rpc.chain.getBlockHash(next);
	const { block } = await api.rpc.chain.getBlock(hash);
	const { reveals, attest } = block.extrinsics.reduce(
		(found, { method }, index) => {
			const name = `${method.section}.${method.method}`;
			return {
				attest: name === 'popw.attest' ? index : found.attest,
				reveals: found.reveals + (name === 'popw.reveal' ? 1 : 0),
			};
		},
		{ attest: -1, reveals: 0 },
	);
	assert.ok(reveals > 5 && reveals < FLOOD, `${reveals} of the flood fill the rest of the block`);
	assert.equal(attest, 1, 'right after the inherent');
	assert.ok((await multiplier()) > before, 'the flood raises its own price');
});
