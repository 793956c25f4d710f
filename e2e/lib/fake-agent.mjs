// A replacement for `kaisar-agent` that can misbehave.

import { createServer } from 'node:http';

import { u8aConcat } from '@polkadot/util';

import { GOOD } from './dev.mjs';
import { compact, uint, verdict } from './scale.mjs';

/** Length of a `SeatRequest` whose options are all `None`, in bytes. A class reference is never sent here,
 * since the workers have no GPU. A window adds 8 bytes, an order 4.
 */
export const SEAT_REQUEST = 32 + 4 + 32 + 32 + 4 + 32 + 28 + 29 + 1 + 32 + 32 + 32 + 1 + 1 + 1 + 1 + 1;

/** Returns the workers in a body of type `Vec<SeatRequest>`. */
export function seatWorkers(body) {
	const workers = [];
	// With at most 256 seats, the compact length has one or two bytes.
	let at = (body[0] & 3) === 0 ? 1 : 2;
	const count = at === 1 ? body[0] >> 2 : (body[0] | (body[1] << 8)) >> 2;
	for (let i = 0; i < count; i += 1) {
		workers.push(body.readUInt32LE(at + 100));
		const window = body[at + SEAT_REQUEST - 3] === 1 ? 8 : 0;
		const order = body[at + SEAT_REQUEST - 1 + window] === 1 ? 4 : 0;
		at += SEAT_REQUEST + window + order;
	}
	return workers;
}

/** A server with a `mode`:
 *
 * - `good`: answers like an agent that finds everything in order;
 * - `hang`: accepts requests and never answers;
 * - `drip`: answers a byte a second, forever;
 * - `die`: closes the connection;
 * - `garbage`: answers 10 MB of noise;
 * - `nonsense`: answers in time, with bytes that cannot be decoded;
 * - `error`: answers 500.
 */
export class FakeAgent {
	static async start(token) {
		const agent = new FakeAgent();
		agent.token = token;
		agent.mode = 'good';
		agent.seen = [];
		agent.sockets = new Set();
		agent.noise = Buffer.alloc(10 * 1024 * 1024, 0xa5);
		agent.server = createServer((request, response) => agent.#serve(request, response));
		agent.server.on('connection', (socket) => {
			agent.sockets.add(socket);
			socket.on('close', () => agent.sockets.delete(socket));
			socket.on('error', () => {});
		});
		await new Promise((resolve) => agent.server.listen(0, '127.0.0.1', resolve));
		agent.url = `http://127.0.0.1:${agent.server.address().port}`;
		return agent;
	}

	/** Returns the number of requests that arrived in this mode. */
	count(mode) {
		return this.seen.filter((one) => one.mode === mode).length;
	}

	#serve(request, response) {
		const chunks = [];
		response.on('error', () => {});
		request.on('error', () => {});
		request.on('data', (chunk) => chunks.push(chunk));
		request.on('end', () => {
			const body = Buffer.concat(chunks);
			this.seen.push({ authorization: request.headers.authorization, body, mode: this.mode, url: request.url });
			switch (this.mode) {
				case 'hang':
					return;
				case 'drip': {
					response.writeHead(200);
					const timer = setInterval(() => response.write('\0'), 1_000);
					response.on('close', () => clearInterval(timer));
					return;
				}
				case 'die':
					request.socket.destroy();
					return;
				case 'garbage':
					response.writeHead(200, { 'content-type': 'application/octet-stream' });
					response.end(this.noise);
					return;
				case 'nonsense':
					response.end(Buffer.alloc(40, 0xff));
					return;
				case 'error':
					response.writeHead(500);
					response.end('no');
					return;
				default:
					this.#good(request, response, body);
			}
		});
	}

	#good(request, response, body) {
		if (request.headers.authorization !== `Bearer ${this.token}`) {
			response.writeHead(401);
			response.end();
			return;
		}
		const answer = {
			'/v1/check': () => {
				const workers = seatWorkers(body);
				return u8aConcat(
					compact(workers.length),
					...workers.map((worker) =>
						// Progress::Done(Checked { verdict, receipt: None })
						u8aConcat(uint(worker, 4), Uint8Array.of(1), verdict(GOOD), Uint8Array.of(0)),
					),
				);
			},
			// ContainerReport { order: None, state: Absent }
			'/v1/order': () => Uint8Array.of(0, 0),
			// Prepared { members, connected }
			'/v1/prepare': () => new Uint8Array(8),
			// Progress::Done(Attestation)
			'/v1/prove': () => u8aConcat(Uint8Array.of(1), new Uint8Array(32).fill(0x5a)),
			'/v1/round': () => new Uint8Array(),
			// No claims
			'/v1/seats': () => Uint8Array.of(0),
			// AgentStatus { version, agent, gpus, clock_ms }
			'/v1/status': () => {
				const clock = Buffer.alloc(8);
				clock.writeBigUInt64LE(BigInt(Date.now()));
				const start = [compact(4), Buffer.from('fake'), new Uint8Array(32), Uint8Array.of(0)];
				return u8aConcat(...start, clock);
			},
		}[request.url];
		if (answer) {
			const bytes = Buffer.from(answer());
			response.writeHead(200, {
				'content-length': bytes.length,
				'content-type': 'application/octet-stream',
			});
			response.end(bytes);
		} else {
			response.writeHead(404);
			response.end();
		}
	}

	/** Ends the server. */
	async stop() {
		for (const socket of this.sockets) {
			socket.destroy();
		}
		await new Promise((resolve) => this.server.close(resolve));
	}
}
