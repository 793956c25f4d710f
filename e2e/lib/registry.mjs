// A registry of container images, in this process. Its images are made of busybox.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Name under which engines of `scripts/engine.sh` reach the registry. */
export const HOST = 'registry.kaisar.test';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const BUSYBOX = '/bin/busybox';
const ARCHITECTURES = { arm64: 'arm64', x64: 'amd64' };

const digest = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/**
 * Returns the archive of an image's files. `programs` are those of busybox; `files` are texts by their
 * paths, and can be run if they begin with `#!`.
 */
async function layerOf(programs, files) {
	const root = await mkdtemp(join(tmpdir(), 'kaisar-image-'));
	try {
		await mkdir(join(root, 'bin'));
		await mkdir(join(root, 'tmp'));
		await copyFile(BUSYBOX, join(root, 'bin/busybox'));
		for (const name of programs) {
			await symlink('busybox', join(root, 'bin', name));
		}
		for (const [path, text] of Object.entries(files)) {
			await mkdir(dirname(join(root, path)), { recursive: true });
			await writeFile(join(root, path), text);
			await chmod(join(root, path), text.startsWith('#!') ? 0o755 : 0o644);
		}
		// The folder that mkdtemp makes is its owner's alone, and would be the root of the image.
		await chmod(root, 0o755);
		const { stdout } = await run('tar', ['-C', root, '-c', '.'], { encoding: 'buffer', maxBuffer: 2 ** 26 });
		return stdout;
	} finally {
		await rm(root, { force: true, recursive: true });
	}
}

/** A registry that serves images over plain HTTP. */
export class Registry {
	/**
	 * Starts a registry with images by name and tag, such as `library/web:1`. Of each, `command` is the
	 * entrypoint and `ports` are exposed; `programs` and `files` are in it.
	 */
	static async start(images) {
		const registry = new Registry();
		/** Names and tags of the images that were pulled. */
		registry.pulled = new Set();
		registry.answers = new Map();
		for (const [name, image] of Object.entries(images)) {
			await registry.#add(name, image);
		}
		registry.server = createServer((request, response) => registry.#serve(request, response));
		await new Promise((resolve, reject) => {
			registry.server.once('error', reject);
			registry.server.listen(0, '127.0.0.1', resolve);
		});
		registry.address = `127.0.0.1:${registry.server.address().port}`;
		return registry;
	}

	async #add(name, { command, files, ports, programs }) {
		const [path, tag] = name.split(':');
		const layer = await layerOf(programs, files);
		const config = Buffer.from(
			JSON.stringify({
				architecture: ARCHITECTURES[process.arch],
				config: {
					Entrypoint: command,
					ExposedPorts: Object.fromEntries(ports.map((port) => [`${port}/tcp`, {}])),
				},
				os: 'linux',
				rootfs: { diff_ids: [digest(layer)], type: 'layers' },
			}),
		);
		const part = (bytes, mediaType) => ({ digest: digest(bytes), mediaType, size: bytes.length });
		const manifest = Buffer.from(
			JSON.stringify({
				config: part(config, 'application/vnd.oci.image.config.v1+json'),
				layers: [part(layer, 'application/vnd.oci.image.layer.v1.tar')],
				mediaType: MANIFEST,
				schemaVersion: 2,
			}),
		);
		for (const reference of [tag, digest(manifest)]) {
			this.answers.set(`/v2/${path}/manifests/${reference}`, { bytes: manifest, type: MANIFEST });
		}
		for (const bytes of [config, layer]) {
			this.answers.set(`/v2/${path}/blobs/${digest(bytes)}`, { bytes, name, type: 'application/octet-stream' });
		}
	}

	#serve(request, response) {
		// Docker asks by way of a proxy, with the whole URL.
		const { pathname } = new URL(request.url, 'http://registry');
		if (pathname === '/v2/') {
			response.end();
			return;
		}
		const answer = this.answers.get(pathname);
		if (!answer) {
			response.writeHead(404, { 'content-type': 'application/json' });
			response.end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
			return;
		}
		if (answer.name && request.method === 'GET') {
			this.pulled.add(answer.name);
		}
		response.writeHead(200, { 'content-length': answer.bytes.length, 'content-type': answer.type });
		response.end(request.method === 'HEAD' ? undefined : answer.bytes);
	}

	/** Ends the registry. */
	async stop() {
		this.server.closeAllConnections();
		await new Promise((resolve) => this.server.close(resolve));
	}
}
