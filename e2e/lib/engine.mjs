// A private container engine, started by `scripts/engine.sh`, and the command-line client.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
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

/** A private engine. Its containers end with it. */
export class Engine {
	/** Starts an engine with the images of the tests. Pulls from registry.kaisar.test go to the address
	 * `registry`, if it is given. */
	static async start({ registry } = {}) {
		const engine = new Engine();
		engine.dir = await mkdtemp(join(tmpdir(), 'kaisar-engine-'));
		const address = registry === undefined ? [] : [registry];
		try {
			const { stdout } = await run(SCRIPT, ['start', engine.dir, ...address], { timeout: 120_000 });
			engine.socket = stdout.trim();
			engine.network = (await readFile(join(engine.dir, 'network'), 'utf8')).trim();
			// If containers share the machine's network, each needs a port that nobody else uses.
			await run(SCRIPT, ['images', engine.dir, String(await freePort())], { timeout: 120_000 });
		} catch (error) {
			await engine.stop().catch(() => {});
			throw error;
		}
		return engine;
	}

	/** Returns the arguments with which a node's agent uses this engine. */
	agentArgs() {
		return [
			`--agent-arg=--engine=${this.socket}`,
			`--agent-arg=--container-network=${this.network}`,
			'--agent-arg=--allow-lan',
			'--agent-arg=--allow-old-engine',
		];
	}

	/** Returns the containers, running or not, with the labels that the agent gave them. */
	async containers() {
		return this.#get('/v1.40/containers/json?all=true');
	}

	/** Returns the container of an order, if it exists. */
	async of(order) {
		const all = await this.containers();
		return all.find(({ Labels }) => Labels?.['kaisar.order'] === String(order));
	}

	/** Returns the engine's record of a container. */
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
			asked.on('timeout', () => asked.destroy(new Error(`${path}: the engine does not answer in time`)));
			asked.on('error', reject);
			asked.end();
		});
	}

	/** Ends only the engine's service: containers keep running, and nobody can ask about them. */
	async halt() {
		await run(SCRIPT, ['halt', this.dir], { timeout: 60_000 });
	}

	/** Ends the engine and all its containers. */
	async stop() {
		await run(SCRIPT, ['stop', this.dir], { timeout: 120_000 });
		await rm(this.dir, { force: true, recursive: true, maxRetries: 5 });
	}
}

/** Runs `kaisar`. Returns its exit code and its output; with `--json` among the arguments, the parsed
 * output. */
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

/** A running `kaisar connect`. */
export class Connection {
	/** Opens a tunnel, and waits until the program prints its local address. */
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
		// A test that only waits for the end does not need this failure.
		connection.listening.catch(() => {});
		return connection;
	}

	/** Returns the local address of a port of the container, opened by `--listen ADDRESS=PORT`. */
	async at(port) {
		const line = new RegExp(`port ${port} of order \\d+ is at (127\\.0\\.0\\.1:\\d+)`);
		const ended = this.exited.then((how) => {
			throw new Error(`kaisar connect ended: ${JSON.stringify(how)}\n${this.output}`);
		});
		for (;;) {
			const match = line.exec(this.output);
			if (match) {
				ended.catch(() => {});
				return `http://${match[1]}/`;
			}
			await Promise.race([once(this.process.stdout, 'data'), ended]);
		}
	}

	/** Fetches a page of the container through the tunnel; without an address, from its first port. */
	async page(path = '', address = this.listening) {
		const response = await fetch((await address) + path, { signal: AbortSignal.timeout(20_000) });
		return response.text();
	}

	async close() {
		this.process.kill('SIGTERM');
		return this.exited;
	}
}
