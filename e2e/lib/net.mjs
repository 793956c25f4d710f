// Finds free ports.

import { createServer } from 'node:net';

/** Returns a port of the loopback address on which nobody listens at the moment. */
export async function freePort() {
	const server = createServer();
	await new Promise((resolve, reject) => {
		server.once('error', reject);
		server.listen(0, '127.0.0.1', resolve);
	});
	const { port } = server.address();
	await new Promise((resolve) => server.close(resolve));
	return port;
}
