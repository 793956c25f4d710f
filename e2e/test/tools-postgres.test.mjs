// Tests that a private PostgreSQL server keeps its data over a restart, and that two servers are separate.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';

import { freePort } from '../lib/net.mjs';
import { Postgres } from '../lib/postgres.mjs';

test('a server keeps its data over a restart', async (t) => {
	const postgres = await Postgres.start();
	t.after(() => postgres.stop());
	await postgres.run(`
		create table blocks (number integer primary key, hash text not null);
		insert into blocks values (1, '0x01'), (2, '0x02');
	`);
	await assert.rejects(postgres.run("insert into blocks values (1, '0x03')"), /duplicate key/);

	await postgres.halt();
	await assert.rejects(postgres.rows('select 1'), /No such file|refused/);
	await postgres.resume();
	assert.deepEqual(await postgres.rows('select * from blocks order by number'), [
		{ hash: '0x01', number: 1 },
		{ hash: '0x02', number: 2 },
	]);
	assert.deepEqual(await postgres.rows('select * from blocks where number > 2'), []);
});

test('two servers are separate, and leave nothing behind', async (t) => {
	const port = await freePort();
	const [first, second] = await Promise.all([Postgres.start({ port }), Postgres.start()]);
	t.after(() => Promise.all([first.stop(), second.stop()]));
	await first.run('create table only_here (id integer)');
	await assert.rejects(second.rows('select * from only_here'), /does not exist/);
	// A server with a port is reached over TCP as well.
	first.url = `postgresql://kaisar@127.0.0.1:${port}/kaisar`;
	assert.deepEqual(await first.rows('select * from only_here'), []);

	await second.stop();
	assert.ok(!existsSync(second.dir));
	await assert.rejects(second.rows('select 1'));
});
