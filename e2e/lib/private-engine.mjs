// A container engine with its own bridges and firewall rules, and the part of the Docker API that tests of
// networks need. `engine.mjs` has the engine for agents, which shares the machine's network.

import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { atExit } from './at-exit.mjs';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('../../scripts/engine.sh', import.meta.url));

/** Port of `localhost/kaisar-web:1`. */
export const WEB_PORT = 8080;
/** Page of `localhost/kaisar-web:1`. */
export const WEB_PAGE = 'a page of kaisar-web';

/** A private engine in its own network namespace, with the images of the tests. */
export class PrivateEngine {
	/** Starts Podman or Docker's daemon: `kind` is `podman` or `docker`. */
	static async start(kind) {
		const engine = new PrivateEngine();
		engine.dir = await mkdtemp(join(tmpdir(), `kaisar-${kind}-`));
		engine.forget = atExit(() => spawnSync(SCRIPT, ['stop', engine.dir]));
		const env = { ...process.env, KAISAR_ENGINE: kind, KAISAR_ENGINE_NAMESPACE: 'own' };
		try {
			const { stdout } = await run(SCRIPT, ['start', engine.dir], { env, timeout: 120_000 });
			engine.socket = stdout.trim();
			engine.network = (await readFile(join(engine.dir, 'network'), 'utf8')).trim();
			engine.namespace = (await readFile(join(engine.dir, 'namespace'), 'utf8')).trim();
			await run(SCRIPT, ['images', engine.dir, String(WEB_PORT)], { timeout: 120_000 });
		} catch (error) {
			await engine.stop().catch(() => {});
			throw error;
		}
		return engine;
	}

	/**
	 * Creates a network that containers of other networks cannot reach, which is the default of both
	 * engines' Docker API. Podman's own command isolates a network only with `--opt isolate=true`.
	 */
	async makeNetwork(name) {
		await this.api('POST', '/networks/create', { CheckDuplicate: true, Driver: 'bridge', Name: name });
	}

	/** Connects a running container to a further network. */
	async connect(network, name) {
		await this.api('POST', `/networks/${network}/connect`, { Container: name });
	}

	/** Starts a container of `localhost/kaisar-web:1` on a network. Returns its address there. */
	async web(name, network, { publish = false } = {}) {
		const port = `${WEB_PORT}/tcp`;
		const binding = [{ HostIp: '127.0.0.1', HostPort: '' }];
		await this.api('POST', `/containers/create?name=${name}`, {
			ExposedPorts: { [port]: {} },
			HostConfig: { NetworkMode: network, PortBindings: publish ? { [port]: binding } : {} },
			Image: 'localhost/kaisar-web:1',
		});
		await this.api('POST', `/containers/${name}/start`);
		const { NetworkSettings } = await this.inspect(name);
		return NetworkSettings.Networks[network].IPAddress;
	}

	/** Returns the engine's record of a container. */
	async inspect(name) {
		return JSON.parse(await this.api('GET', `/containers/${name}/json`));
	}

	/** Runs a command in a container. Returns its exit code, and its output including errors. */
	async exec(name, ...command) {
		const how = { AttachStderr: true, AttachStdout: true, Cmd: command, Tty: true };
		const { Id } = JSON.parse(await this.api('POST', `/containers/${name}/exec`, how));
		const output = await this.api('POST', `/exec/${Id}/start`, { Detach: false, Tty: true });
		const { ExitCode } = JSON.parse(await this.api('GET', `/exec/${Id}/json`));
		return { code: ExitCode, output };
	}

	/** Fetches the page of another container from within a container. */
	async fetchFrom(name, host) {
		const output = await this.#get(name, host, 20);
		if (!output.includes('200 OK')) {
			throw new Error(`${name} does not reach ${host}: ${output}`);
		}
		return output.trim().split('\n').at(-1);
	}

	/** Returns whether a container gets no answer from a host within two seconds. */
	async isCutOff(name, host) {
		return !(await this.#get(name, host, 2)).includes('200 OK');
	}

	async #get(name, host, seconds) {
		// Busybox's wget needs name services that the image does not have.
		const get = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w ${seconds} ${host} ${WEB_PORT}`;
		const { output } = await this.exec(name, 'sh', '-c', get);
		return output;
	}

	/** Fetches a published page from the engine's network namespace, as a program on the machine does. */
	async fetchPublished(name) {
		const { NetworkSettings } = await this.inspect(name);
		const [{ HostIp, HostPort }] = NetworkSettings.Ports[`${WEB_PORT}/tcp`];
		const curl = ['curl', '--silent', '--show-error', '--max-time', '20', `http://${HostIp}:${HostPort}/`];
		const { stdout } = await run('nsenter', [`--net=${this.namespace}`, ...curl]);
		return stdout.trim();
	}

	/** Sends a request of the Docker API, and returns the body of the answer. */
	api(method, path, body) {
		return new Promise((resolve, reject) => {
			const headers = body === undefined ? {} : { 'Content-Type': 'application/json' };
			const options = { headers, method, path: `/v1.40${path}`, socketPath: this.socket, timeout: 60_000 };
			const asked = request(options, (response) => {
				let text = '';
				response.setEncoding('utf8');
				response.on('error', reject);
				response.on('data', (part) => {
					text += part;
				});
				response.on('end', () => {
					if (response.statusCode < 400) {
						resolve(text);
					} else {
						reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
					}
				});
			});
			asked.on('timeout', () => asked.destroy(new Error(`${method} ${path}: the engine does not answer in time`)));
			asked.on('error', reject);
			asked.end(body === undefined ? undefined : JSON.stringify(body));
		});
	}

	/** Ends the engine and all its containers. */
	async stop() {
		await run(SCRIPT, ['stop', this.dir], { timeout: 120_000 });
		await rm(this.dir, { force: true, recursive: true, maxRetries: 5 });
		this.forget();
	}
}
