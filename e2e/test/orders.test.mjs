// Tests renting a machine with real agents and a real container engine: an order over polkadot.js is
// deployed, reached through the tunnel, extended, and canceled for credits. The credits pay for a second
// order, with arguments, variables and two ports. Its container dies; the customer reports this, and a
// committee confirms it.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { u8aToHex } from '@polkadot/util';
import { blake2AsU8a } from '@polkadot/util-crypto';

import { Dev, MODEST, workload } from '../lib/dev.mjs';
import { Connection, Engine, kaisar } from '../lib/engine.mjs';
import { feePaid } from '../lib/extrinsics.mjs';
import { KAI, part, unitPrice, used } from '../lib/formulas.mjs';
import { freePort } from '../lib/net.mjs';
import { plain } from '../lib/plain.mjs';

const IMAGE = 'localhost/kaisar-web:1';
const REQUIREMENT = {
	gpuClass: 0,
	gpuCount: 0,
	minBandwidth: 0,
	minCpu: 1,
	minDisk: 1,
	minMemory: 0,
	region: '0x4445',
	arch: null,
	minDriver: null,
	minCuda: null,
};

let dev;
let engine;
let folder;
let customer;
before(async () => {
	folder = await mkdtemp(join(tmpdir(), 'kaisar-orders-'));
	engine = await Engine.start();
	dev = await Dev.start({ args: ['--dev', ...engine.agentArgs()] });
	customer = dev.keys.pair('//Bob');
});
after(async () => {
	await dev?.stop();
	await engine?.stop();
	await rm(folder, { force: true, recursive: true });
});

/** Returns the data of the only event of this name that an extrinsic emitted. */
function event(result, name) {
	const found = result.events.filter((one) => one.name === name);
	assert.equal(found.length, 1, `${name} among ${result.events.map((one) => one.name)}`);
	return found[0].data;
}

/** Returns an order's record. */
const order = async (id) => plain(await dev.chain.view('Orders', 'order', [id])).order;

/** Returns the name of an order's state. */
async function stateOf(id) {
	const { state } = await order(id);
	return typeof state === 'string' ? state : Object.keys(state)[0];
}

const heldFor = async (who) => {
	const holds = plain(await dev.api.query.balances.holds(who.address));
	return holds
		.filter(({ id }) => id.Orders !== undefined)
		.reduce((sum, { amount }) => sum + BigInt(amount), 0n);
};
const credits = async () => plain(await dev.chain.view('Orders', 'credits', [customer.address]));

/** Returns the price of an hour now for the four cores of the lowest tier, by the formula and with the
 * prices and workers on chain. */
async function priceNow() {
	const reference = plain(await dev.chain.view('Orders', 'price_book', [0, 1]))[0][1].reference;
	const { online, rented } = plain(await dev.api.query.providers.totalsByClass(0));
	return 4n * unitPrice(BigInt(reference), { idle: online, rented });
}

/** Waits until the worker has passed its due checks, and can be matched. */
const idle = (worker) =>
	dev.watch.until(
		async () => plain(await dev.chain.view('Providers', 'worker', [worker])).listed,
		`worker ${worker} listed`,
		{ blocks: 200 },
	);

/** Writes an ed25519 client key to a file for the client. */
async function clientKey(name) {
	const seed = blake2AsU8a(name, 256);
	const file = join(folder, name);
	await writeFile(file, u8aToHex(seed).slice(2), { mode: 0o600 });
	return { file, public: dev.keys.ed25519.addFromSeed(seed).publicKey };
}

/** Formats an amount for the client. */
const decimal = (units) => `${units / KAI}.${(units % KAI).toString().padStart(18, '0')}`;

/** Runs `kaisar` for the customer. Fails if it does. */
async function client(...args) {
	const { code, json, stderr, stdout } = await kaisar(dev, '//Bob', [...args, '--json']);
	assert.equal(code, 0, `${stdout}\n${stderr}`);
	return json;
}

const state = {};

test('a machine is verified, and has a price', async () => {
	const { event: registered, worker } = await dev.register(MODEST);
	await dev.confirmed(worker, { blocks: 200, since: registered.position });
	state.worker = worker;
	const quote = await client('quote', '--class', '0', '--hours', '2');
	state.price = await priceNow();
	assert.equal(BigInt(quote.total), 2n * state.price);
});

test('an order over polkadot.js is matched, deployed and confirmed, fee-less', async () => {
	const { api, chain, watch } = dev;
	await idle(state.worker);
	const quote = await client('quote', '--class', 'none', '--hours', '2');
	assert.equal(quote.idle_workers, 1, 'machines without GPUs are counted by their CPU tier');
	state.key = await clientKey('client');
	state.price = await priceNow();
	const place = (hours, limit) =>
		api.tx.orders.placeOrder(REQUIREMENT, workload(IMAGE), hours, 'OnDemand', limit, 0, state.key.public);
	const dear = await chain.trySend(customer, place(2, 2n * state.price - 1n));
	assert.equal(dear.error, 'orders.PriceAboveLimit');
	assert.equal(await heldFor(customer), 0n);

	const before = await dev.free(customer.address);
	const since = watch.events.length;
	const placed = await chain.send(customer, place(2, 2n * state.price));
	const { order: id } = event(placed, 'orders.OrderPlaced');
	state.order = id;
	assert.equal(await heldFor(customer), 2n * state.price);
	assert.equal(before - (await dev.free(customer.address)), 2n * state.price + feePaid(placed));

	const matched = await watch.event('orders.OrderMatched', (e) => e.order === id, { since });
	assert.equal(matched.data.worker, state.worker);
	assert.ok(matched.block >= placed.block + 2, 'not before the block after next');
	const deployed = await watch.event('orders.OrderDeployed', (e) => e.order === id, { since });
	const { block } = await api.rpc.chain.getBlock(deployed.hash);
	assert.equal(block.extrinsics[deployed.extrinsic].isSigned, false);
	assert.equal(await stateOf(id), 'Active');
	const record = plain(await api.query.providers.workers(state.worker));
	assert.deepEqual([record.standings.now.value, record.order], ['Rented', id]);
});

test('the container is confined', async () => {
	const container = await engine.of(state.order);
	assert.equal(container.State, 'running');
	const { HostConfig } = await engine.inspect(container.Id);
	assert.equal(HostConfig.Privileged, false);
	assert.ok(HostConfig.Memory > 0 && HostConfig.Memory <= 1_000_000_000);
	assert.deepEqual(HostConfig.Binds ?? [], []);
});

test('the page is reached through the tunnel, and only with the client key', async () => {
	const connection = await Connection.open(dev, [`${state.order}`, '--client-key', state.key.file]);
	try {
		assert.match(await connection.page(), /a page of kaisar-web/);
	} finally {
		await connection.close();
	}
	const other = await clientKey('other');
	const stranger = await Connection.open(dev, [`${state.order}`, '--client-key', other.file]);
	const { code } = await stranger.exited;
	assert.notEqual(code, 0, stranger.output);
	assert.doesNotMatch(stranger.output, /127\.0\.0\.1:\d+/);
});

test('a customer that lost its key sets another, and the old one is refused', async () => {
	const { api, chain } = dev;
	const old = await Connection.open(dev, [`${state.order}`, '--client-key', state.key.file]);
	state.key = await clientKey('new');
	await chain.send(customer, api.tx.orders.setClientKey(state.order, state.key.public));
	// The agent learns of it with the next blocks.
	assert.notEqual((await old.exited).code, 0, old.output);
	const connection = await Connection.open(dev, [`${state.order}`, '--client-key', state.key.file]);
	assert.match(await connection.page(), /a page of kaisar-web/);
	await connection.close();
});

test('the order is extended at the current price', async () => {
	const { api, chain } = dev;
	state.dearer = await priceNow();
	assert.ok(state.dearer > state.price, 'all machines of the class are rented now');
	const stranger = await chain.trySend(dev.provider, api.tx.orders.extendOrder(state.order, 1, 10n * KAI));
	assert.equal(stranger.error, 'orders.NotCustomer');
	await client('extend', `${state.order}`, '--hours', '1');
	assert.equal(await heldFor(customer), 2n * state.price + state.dearer);
	const { endsAt, startedAt } = await order(state.order);
	assert.equal(endsAt - startedAt, 900);
});

test('the canceled order costs an hour, and the rest becomes credits', async () => {
	const { api, chain, watch } = dev;
	const provider = await dev.free(dev.provider.address);
	const since = watch.events.length;
	const { startedAt } = await order(state.order);
	const canceled = await chain.send(customer, api.tx.orders.cancelOrder(state.order));
	assert.equal(await stateOf(state.order), 'Closing');
	const closed = await watch.event('orders.OrderClosed', (e) => e.order === state.order, { blocks: 120, since });
	assert.equal(closed.data.reason, 'Cancelled');
	const blocks = Math.max(canceled.block - startedAt, 300);
	const cost = used([[2, state.price], [1, state.dearer]], 1, blocks);
	const fee = part(cost, 10);
	const { ledger } = await order(state.order);
	assert.deepEqual(
		[ledger.charged, ledger.paid, ledger.fees, ledger.credited].map(BigInt),
		[2n * state.price + state.dearer, cost - fee, fee, 2n * state.price + state.dearer - cost],
	);
	assert.equal((await dev.free(dev.provider.address)) - provider, cost - fee);
	assert.equal(BigInt(await credits()), BigInt(ledger.credited));
	assert.equal(await heldFor(customer), 0n);
	// The tunnel is closed, and the container is removed.
	await watch.until(async () => (await engine.of(state.order)) === undefined, 'the container gone');
	const late = await Connection.open(dev, [`${state.order}`, '--client-key', state.key.file]);
	assert.notEqual((await late.exited).code, 0);
});

test('credits pay for the next order, by the command line', async () => {
	await idle(state.worker);
	state.price = await priceNow();
	state.credits = BigInt(await credits());
	// If containers share the machine's network, these are ports of the machine.
	state.ports = [await freePort(), await freePort()];
	const [first, second] = state.ports;
	const variables = join(folder, 'variables');
	// The first port listens last, so both do when it answers.
	await writeFile(variables, `# of the container\nPORTS=${second} ${first}\nGREETING=file\n`);
	const before = await dev.free(customer.address);
	const placed = await client(
		'order',
		'localhost/kaisar-tell:1',
		'--arg',
		'--model',
		'--arg',
		'two words',
		'--env-file',
		variables,
		'--env',
		'GREETING=own',
		'--port',
		`${first}`,
		'--port',
		`${second}/tcp`,
		'--deploy-minutes',
		'20',
		'--class',
		'0',
		'--region',
		'DE',
		'--hours',
		'4',
		'--credits',
		decimal(state.credits),
		'--wait',
	);
	state.second = placed.id;
	assert.equal(await stateOf(state.second), 'Active');
	assert.equal(BigInt(await credits()), 0n);
	assert.equal(await heldFor(customer), 4n * state.price - state.credits);
	assert.ok(before - (await dev.free(customer.address)) >= 4n * state.price - state.credits);
	const { run } = placed.workload;
	assert.deepEqual([run.args, run.ports], [['--model', 'two words'], state.ports]);
	assert.deepEqual(run.env, [`PORTS=${second} ${first}`, 'GREETING=own']);
	assert.equal((await order(state.second)).deployBlocks, 100);
});

test('arguments and variables reach the container, and both ports are reached through one tunnel', async () => {
	const [first, second] = state.ports;
	const listen = state.ports.map((port) => ['--listen', `127.0.0.1:0=${port}`]).flat();
	const connection = await Connection.open(dev, [`${state.second}`, '--suri', '//Bob', ...listen]);
	try {
		assert.equal(await connection.page(), `port ${first}\n`, 'the first by default');
		for (const port of [first, second]) {
			const address = await connection.at(port);
			assert.equal(await connection.page('', address), `port ${port}\n`);
			assert.equal(await connection.page('arguments', address), '--model\ntwo words\n');
			const variables = (await connection.page('environment', address)).split('\n');
			assert.ok(variables.includes('GREETING=own'), variables);
			assert.ok(variables.includes('NVIDIA_VISIBLE_DEVICES=void'), 'the order has no GPU');
		}
	} finally {
		await connection.close();
	}
	const other = await Connection.open(dev, [`${state.second}`, '--suri', '//Bob', '--listen', '127.0.0.1:0=9']);
	assert.equal((await other.exited).code, 5, other.output);
	assert.ok(other.output.includes(`the order serves ports ${first} and ${second}, not 9`), other.output);
});

test('the container dies, the customer reports it, the committee confirms it, and nobody is slashed', async () => {
	const { watch } = dev;
	const since = watch.events.length;
	const container = await engine.of(state.second);
	const { State } = await engine.inspect(container.Id);
	// The engine ends first, so that the agent can neither notice it nor start the container again.
	await engine.halt();
	process.kill(State.Pid, 'SIGKILL');
	const before = await dev.free(customer.address);
	await client('report', `${state.second}`);
	const closed = await watch.event('orders.OrderClosed', (e) => e.order === state.second, { blocks: 150, since });
	assert.equal(closed.data.reason, 'ServiceDown');
	const check = watch.all('popw.CheckClosed', (e, { block }) => e.worker === state.worker && block === closed.block);
	assert.equal(check.at(-1).data.outcome.Online.service, false);
	const slashed = watch.events.slice(since).filter(({ name }) => name === 'providers.SlashQueued');
	assert.deepEqual(slashed, [], 'the machine was there');

	// It costs an hour, like a cancellation: the provider gets the time that checks proved, and the treasury
	// the rest.
	const { ledger } = await order(state.second);
	const gross = BigInt(ledger.paid) + BigInt(ledger.fees);
	assert.equal(BigInt(ledger.charged), 4n * state.price);
	assert.equal(gross + BigInt(ledger.setup), state.price);
	const refunded = BigInt(ledger.refunded.kai) + BigInt(ledger.refunded.credits);
	// If nothing was proved, the rest is returned in its kind; otherwise it becomes credits.
	assert.deepEqual(
		[refunded, BigInt(ledger.credited)],
		gross === 0n ? [3n * state.price, 0n] : [0n, 3n * state.price],
	);
	assert.equal(BigInt(await credits()), BigInt(ledger.refunded.credits) + BigInt(ledger.credited));
	assert.equal(await heldFor(customer), 0n, 'the bond is returned too');
	assert.ok((await dev.free(customer.address)) > before, 'with it, more than before');
});

test('templates are listed and described', async () => {
	const { api, chain } = dev;
	assert.deepEqual(await client('templates'), []);
	const template = { args: ['serve'], capabilities: ['Chown'], env: ['A=1'], image: IMAGE, metadata: null, ports: [80] };
	await chain.send(dev.sudo, api.tx.sudo.sudo(api.tx.orders.setTemplate(3, template)));
	assert.deepEqual(await client('templates'), [{ id: 3, ...template }]);
	const text = await kaisar(dev, '//Bob', ['templates', '3']);
	assert.match(text.stdout, /Capabilities +CHOWN/);
	const unknown = await kaisar(dev, '//Bob', ['templates', '4']);
	assert.equal(unknown.code, 5, unknown.stderr);
});

test('the client shows the whole history', async () => {
	const list = await kaisar(dev, '//Bob', ['orders', '--all', '--json']);
	assert.deepEqual(list.json.map(({ id }) => id).sort(), [state.order, state.second]);
	const text = await kaisar(dev, '//Bob', ['orders', '--all']);
	assert.match(text.stdout, /cancell?ed/i);
	assert.match(text.stdout, /ServiceDown/i);
	const nothing = await kaisar(dev, '//Bob', ['orders', '99', '--json']);
	assert.equal(nothing.code, 5);
	const refused = await kaisar(dev, '//Bob', ['cancel', `${state.second}`]);
	assert.equal(refused.code, 4);
});
