// A private PostgreSQL server, started by `scripts/postgres.sh`.

import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { atExit } from './at-exit.mjs';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('../../scripts/postgres.sh', import.meta.url));

/**
 * A private server with an empty database `kaisar`. It listens on a socket in a folder of its own:
 *
 *     const postgres = await Postgres.start();
 *     t.after(() => postgres.stop());
 *     await postgres.run('create table blocks (number integer primary key)');
 *     const rows = await postgres.rows('select number from blocks');
 *
 * A program under test gets `postgres.url`, or with `Postgres.start({ port })` the address
 * `postgresql://kaisar@127.0.0.1:PORT/kaisar`, if its driver only supports TCP.
 */
export class Postgres {
	/** Creates a server and starts it, in about a second. */
	static async start({ port } = {}) {
		const postgres = new Postgres();
		postgres.dir = await mkdtemp(join(tmpdir(), 'kaisar-postgres-'));
		postgres.port = port;
		postgres.forget = atExit(() => spawnSync(SCRIPT, ['stop', postgres.dir]));
		try {
			await postgres.resume();
		} catch (error) {
			await postgres.stop().catch(() => {});
			throw error;
		}
		return postgres;
	}

	/** Starts a halted server again. */
	async resume() {
		const port = this.port === undefined ? [] : [String(this.port)];
		const { stdout } = await this.#script('start', ...port);
		this.url = stdout.trim();
	}

	/** Ends the server. Its data stays. */
	async halt() {
		await this.#script('halt');
	}

	/** Runs statements in one transaction. Rejects with the server's message if one of them fails. */
	async run(sql) {
		await this.#psql(sql);
	}

	/** Returns the rows of a query as objects. Numbers are JSON's: cast large ones to text. */
	async rows(query) {
		const { stdout } = await this.#psql(`select coalesce(json_agg(row), '[]') from (${query}) as row`);
		return JSON.parse(stdout);
	}

	/** Ends the server and removes its data. */
	async stop() {
		await this.#script('stop');
		await rm(this.dir, { force: true, recursive: true });
		this.forget();
	}

	#script(command, ...args) {
		return run(SCRIPT, [command, this.dir, ...args], { timeout: 120_000 });
	}

	#psql(sql) {
		const args = ['--no-psqlrc', '--quiet', '--no-align', '--tuples-only', '--set=ON_ERROR_STOP=1'];
		return run('psql', [...args, this.url, '--command', sql], { maxBuffer: 64 << 20, timeout: 60_000 });
	}
}
