// Starts and stops node processes. All processes that a test started end with it.

import { spawn } from 'node:child_process';
import { createWriteStream, existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

/** Returns the folder of the binaries. */
export function binDir() {
	const target =
		process.env.CARGO_TARGET_DIR ??
		process.env.KAISAR_TARGET_DIR ??
		join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'kaisar', 'target');
	return process.env.KAISAR_BIN_DIR ?? join(target, 'debug');
}

/** Returns the path of one of our binaries. */
export function binary(name) {
	const path = join(binDir(), name);
	if (!existsSync(path)) {
		throw new Error(`${path} does not exist; build it: scripts/test.sh build`);
	}
	return path;
}

const running = new Set();

// Sends a signal to a node and its agents. The node leads a process group, which includes its agents, so
// that none of them outlives this process.
function killGroup(pid, signal) {
	try {
		process.kill(-pid, signal);
	} catch (error) {
		if (error.code !== 'ESRCH') {
			throw error;
		}
	}
}

/** Exit code after a signal; without one it is the usual 128 plus the signal's number. */
export const interrupted = { code: undefined };

process.on('exit', () => {
	for (const { pid } of running) {
		killGroup(pid, 'SIGKILL');
	}
});
for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
	let caught = false;
	process.on(signal, async () => {
		// The cleanup takes at most some seconds, and a second signal must not interrupt it.
		if (caught) {
			return;
		}
		caught = true;
		await Promise.allSettled([...running].map((node) => node.stop()));
		process.exit(interrupted.code ?? 128 + number);
	});
}

/** A node process. */
export class Node {
	/** Starts a node and waits until it serves RPC.
	 *
	 * - `args`: arguments in addition to base path, ports and logging;
	 * - `basePath`: a folder that is kept; without it a temporary one is made, and removed by `stop`;
	 * - `rpcPort`, `p2pPort`: 0 for any;
	 * - `log`: filters for `--log`;
	 * - `logFile`: file for a copy of the log.
	 */
	static async start({
		args = ['--dev'],
		basePath,
		rpcPort = 0,
		p2pPort = 0,
		log,
		logFile = process.env.KAISAR_NODE_LOG,
		startTimeout = 240_000,
	} = {}) {
		const node = new Node();
		node.owned = !basePath;
		node.basePath = basePath ?? (await mkdtemp(join(tmpdir(), 'kaisar-')));
		await mkdir(node.basePath, { recursive: true });
		node.lines = [];
		node.waiters = new Set();
		const all = [
			...args,
			'--base-path',
			node.basePath,
			'--rpc-port',
			String(rpcPort),
			'--port',
			String(p2pPort),
			'--no-prometheus',
			'--no-telemetry',
			// The first node that starts after a build compiles the WASM for all others.
			'--wasm-cache',
			join(binDir(), 'wasm-cache'),
			...(log ? ['--log', log] : []),
		];
		node.process = spawn(binary('kaisar-node'), all, {
			detached: true,
			env: { ...process.env, NO_COLOR: '1' },
			stdio: ['ignore', 'pipe', 'pipe'],
		});
		node.pid = node.process.pid;
		if (node.pid) {
			running.add(node);
		}
		const file = logFile ? createWriteStream(logFile, { flags: 'a' }) : undefined;
		for (const stream of [node.process.stdout, node.process.stderr]) {
			let rest = '';
			stream.setEncoding('utf8');
			stream.on('data', (text) => {
				file?.write(text);
				const parts = (rest + text).split('\n');
				rest = parts.pop();
				for (const line of parts) {
					node.#line(line);
				}
			});
		}
		node.exited = new Promise((resolve) => {
			node.process.once('error', (error) => resolve({ error }));
			node.process.once('exit', (code, signal) => resolve({ code, signal }));
		});
		node.exited.then((how) => {
			node.ended = how;
			for (const waiter of node.waiters) {
				waiter.reject(node.#death());
			}
		});
		const line = await node.logged(/Running JSON-RPC server: addr=.*?:(\d+)/, {
			timeout: startTimeout,
		});
		node.rpcPort = Number(line[1]);
		node.url = `ws://127.0.0.1:${node.rpcPort}`;
		return node;
	}

	#line(line) {
		this.lines.push(line);
		for (const waiter of this.waiters) {
			const match = waiter.pattern.exec(line);
			if (match) {
				waiter.resolve(match);
			}
		}
	}

	#death() {
		const tail = this.lines.slice(-25).join('\n');
		return new Error(`the node ended: ${JSON.stringify(this.ended)}\n${tail}`);
	}

	/** Waits for a line of the log, earlier ones included; `from` skips the first lines. */
	logged(pattern, { timeout = 120_000, from = 0 } = {}) {
		for (const line of this.lines.slice(from)) {
			const match = pattern.exec(line);
			if (match) {
				return Promise.resolve(match);
			}
		}
		if (this.ended) {
			return Promise.reject(this.#death());
		}
		return new Promise((resolve, reject) => {
			const waiter = { pattern };
			const settle = (how) => (value) => {
				clearTimeout(timer);
				this.waiters.delete(waiter);
				how(value);
			};
			waiter.resolve = settle(resolve);
			waiter.reject = settle(reject);
			const timer = setTimeout(
				() =>
					waiter.reject(
						new Error(`nothing like ${pattern} in the log:\n${this.lines.slice(-25).join('\n')}`),
					),
				timeout,
			);
			this.waiters.add(waiter);
		});
	}

	/** Returns the lines of the log that match a pattern. */
	linesLike(pattern) {
		return this.lines.filter((line) => pattern.test(line));
	}

	/** Returns the ids of its agents' processes. */
	agents() {
		return readdirSync('/proc')
			.filter((name) => /^\d+$/.test(name))
			.map(Number)
			.filter((pid) => {
				try {
					// The name in brackets is followed by the state and the parent.
					const [, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop().split(' ');
					return Number(parent) === this.pid;
				} catch {
					// The process has just ended.
					return false;
				}
			});
	}

	/** Sends a signal to the node itself, not to its agents, and waits for its end. */
	async kill(signal) {
		if (!this.ended) {
			this.process.kill(signal);
		}
		return this.exited;
	}

	/** Ends the node and all its child processes, and removes its folder if it is a temporary one. */
	async stop() {
		this.stopping = true;
		if (this.pid) {
			if (!this.ended) {
				this.process.kill('SIGTERM');
				const timer = setTimeout(() => killGroup(this.pid, 'SIGKILL'), 15_000);
				await this.exited;
				clearTimeout(timer);
			}
			killGroup(this.pid, 'SIGKILL');
			running.delete(this);
		}
		if (this.owned) {
			await rm(this.basePath, { force: true, recursive: true, maxRetries: 5 });
		}
	}
}
