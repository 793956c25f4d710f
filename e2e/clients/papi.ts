// A dApp in TypeScript, with polkadot-api. Its types are generated from the chain's metadata, so half of the
// test is that `tsc --strict` accepts the program. It prints the results as JSON.

import { getExtrinsicDecoder } from '@polkadot-api/tx-utils';
import { createClient } from 'polkadot-api';
import { getWsProvider } from 'polkadot-api/ws';

import { kaisar } from './.papi/descriptors/dist/index.js';

const [url = '', account = '', block = ''] = process.argv.slice(2);
const client = createClient(getWsProvider(url));
const api = client.getTypedApi(kaisar);
const at = { at: block };

// The transactions of a block, by name.
const metadata = await api.apis.Metadata.metadata_at_version(15, at);
if (!metadata) {
	throw new Error('the node has no metadata of version 15');
}
const decode = getExtrinsicDecoder(metadata);
const transactions = (await client.getBlockBody(block)).map((bytes) => {
	const { call, type } = decode(bytes);
	return `${type} ${call.type}.${call.value.type}`;
});

// The events of the block.
const events = (await api.query.System.Events.getValue(at)).map(({ event }) => event);
const attested = events.flatMap((event) =>
	event.type === 'Popw' && event.value.type === 'Attested' ? [event.value.value] : [],
);

// View functions, including those with a class as an argument.
const gpuClass = 1;
const [workers] = await api.view.Providers.workers(0, 10, at);
const [operators] = await api.view.Checkers.operators(0, 10, at);
const [first] = await api.view.Rewards.classes(gpuClass, 1, at);
const price = await api.view.Orders.price(gpuClass, at);
const reference = await api.view.Rewards.class_reference(gpuClass, at);

console.log(
	JSON.stringify({
		attested: attested.map(({ round, worker }) => ({ round, worker })),
		classScore: await api.view.Rewards.class_score(gpuClass, at),
		events: events.map((event) => `${event.type}.${event.value.type}`),
		idle: await api.view.Providers.idle_workers(gpuClass, 1, undefined, at),
		licenses: await api.view.Licenses.licenses_of(account, undefined, 10, at),
		memory: reference?.memory_gb,
		name: first?.name && new TextDecoder().decode(first.name),
		operators: operators.map(([operator]) => operator),
		price: price?.on_demand.toString(),
		slashes: (await api.view.Providers.slashes(undefined, 10, at)).length,
		states: workers.map(([, { state }]) => state.type),
		transactions,
	}),
);
client.destroy();
