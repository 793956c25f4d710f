// Tests networks of containers in Podman and in Docker's own daemon: containers of one network reach each
// other by name and by address, and containers of different networks do not.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';

import { PrivateEngine, WEB_PAGE } from '../lib/private-engine.mjs';

// The tests run in parallel, since they mostly wait for connections that must not succeed.
describe('networks of containers are kept apart', { concurrency: true }, () => {
	for (const kind of ['podman', 'docker']) {
		test(`by ${kind}`, async (t) => {
			const engine = await PrivateEngine.start(kind);
			t.after(() => engine.stop());
			await engine.makeNetwork('olga');
			await engine.makeNetwork('piet');
			const first = await engine.web('olga-first', 'olga', { publish: true });
			await engine.web('olga-second', 'olga');
			await engine.web('piet-only', 'piet');

			// Containers of a network reach each other by address and by name; those of another network
			// reach them neither way.
			assert.equal(await engine.fetchFrom('olga-second', first), WEB_PAGE);
			assert.equal(await engine.fetchFrom('olga-second', 'olga-first'), WEB_PAGE);
			const cutOff = [engine.isCutOff('piet-only', first), engine.isCutOff('piet-only', 'olga-first')];
			assert.deepEqual(await Promise.all(cutOff), [true, true]);
			// The machine reaches published ports on its loopback address.
			assert.equal(await engine.fetchPublished('olga-first'), WEB_PAGE);

			// Only the network separates them: a container that joins the network gets an answer.
			await engine.connect('olga', 'piet-only');
			assert.equal(await engine.fetchFrom('piet-only', first), WEB_PAGE);

			await engine.stop();
			assert.ok(!existsSync(engine.dir));
			assert.ok(!existsSync(engine.namespace), 'its namespace went with it');
		});
	}
});
