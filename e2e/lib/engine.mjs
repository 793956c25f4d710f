// A container engine of the test's own, as `scripts/engine.sh` starts it, and the command-line client.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { freePort } from './net.mjs';
import { binary } from './node.mjs';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('../../scripts/engine.sh', import.meta.url));

/** A private engine. Whatever it runs ends with it. */
export class Engine {
	static async start() {
		const engine = new Engine();
		engine.dir = await mkdtemp(join(tmpdir(), 'kaisar-engine-'));
		try {
			const { stdout } = await run(SCRIPT, ['start', engine.dir], { timeout: 120_000 });
			engine.socket = stdout.trim();
			engine.network = (await readFile(join(engine.dir, 'network'), 'utf8')).trim();
			// Where containers share the machine's network, each needs a port that nobody else has.
			await run(SCRIPT, ['images', engine.dir, String(await freePort())], { timeout: 120_000 });
		} catch (error) {
			await engine.stop().catch(() => {});
			throw error;
		}
		return engine;
	}

	/** What an agent has to be told of it, as arguments of its node. */
	agentArgs() {
		return [`--agent-arg=--engine=${this.socket}`, `--agent-arg=--container-network=${this.network}`];
	}

	/** The containers there are, running or not, with the labels that the agent gave them. */
	async containers() {
		return this.#get('/v1.40/containers/json?all=true');
	}

	/** The container of an order, if there is one. */
	async of(order) {
		const all = await this.containers();
		return all.find(({ Labels }) => Labels?.['kaisar.order'] === String(order));
	}

	/** All that the engine says of a container. */
	async inspect(id) {
		return this.#get(`/v1.40/containers/${id}/json`);
	}

	#get(path) {
		return new Promise((resolve, reject) => {
			const asked = request({ path, socketPath: this.socket, timeout: 20_000 }, (response) => {
				let text = '';
				response.setEncoding('utf8');
				response.on('data', (part) => {
					text += part;
				});
				response.on('end', () => {
					if (response.statusCode === 200) {
						resolve(JSON.parse(text));
					} else {
						reject(new Error(`${path}: ${response.statusCode} ${text}`));
					}
				});
			});
			asked.on('timeout', () => asked.destroy(new Error(`${path}: the engine does not answer`)));
			asked.on('error', reject);
			asked.end();
		});
	}

	/** Ends the engine's service alone: what runs goes on, and nobody can be told of it. */
	async halt() {
		await run(SCRIPT, ['halt', this.dir], { timeout: 60_000 });
	}

	/** Ends it, with all that it runs. */
	async stop() {
		await run(SCRIPT, ['stop', this.dir], { timeout: 120_000 });
		await rm(this.dir, { force: true, recursive: true, maxRetries: 5 });
	}
}

/** Runs `kaisar`. Gives its exit code and what it printed; with `--json` among the arguments, parsed. */
export async function kaisar(dev, suri, args, { env = {} } = {}) {
	const all = ['--url', dev.node.url, '--suri', suri, ...args];
	const { code, stdout, stderr } = await new Promise((resolve) => {
		execFile(
			binary('kaisar'),
			all,
			{ env: { ...process.env, NO_COLOR: '1', ...env }, timeout: 300_000 },
			(error, stdout, stderr) => resolve({ code: error ? error.code : 0, stderr, stdout }),
		);
	});
	const json = args.includes('--json') && stdout.trim() ? JSON.parse(stdout) : undefined;
	return { code, json, stderr, stdout };
}

/** `kaisar connect`, while it runs. */
export class Connection {
	/** Opens a tunnel, and waits until it says where it listens. */
	static async open(dev, args) {
		const connection = new Connection();
		connection.process = spawn(
			binary('kaisar'),
			['--url', dev.node.url, 'connect', '--private-addresses', '--listen', '127.0.0.1:0', ...args],
			{ env: { ...process.env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'] },
		);
		connection.output = '';
		connection.exited = new Promise((resolve) => {
			connection.process.once('error', (error) => resolve({ error }));
			connection.process.once('close', (code, signal) => resolve({ code, signal }));
		});
		connection.listening = new Promise((resolve, reject) => {
			for (const stream of [connection.process.stdout, connection.process.stderr]) {
				stream.setEncoding('utf8');
				stream.on('data', (text) => {
					connection.output += text;
					const match = /127\.0\.0\.1:(\d+)/.exec(connection.output);
					if (match) {
						resolve(`http://127.0.0.1:${match[1]}/`);
					}
				});
			}
			connection.exited.then((how) =>
				reject(new Error(`kaisar connect ended: ${JSON.stringify(how)}\n${connection.output}`)),
			);
		});
		// Whoever only waits for its end is not to be told of this.
		connection.listening.catch(() => {});
		return connection;
	}

	/** Fetches the container's page through it. */
	async page() {
		const response = await fetch(await this.listening, { signal: AbortSignal.timeout(20_000) });
		return response.text();
	}

	async close() {
		this.process.kill('SIGTERM');
		return this.exited;
	}
}
