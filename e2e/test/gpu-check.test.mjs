// scripts/gpu-check.sh, on software that plays a GPU: that it runs all parts, and that its report has them.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { binDir, binary } from '../lib/node.mjs';

const script = new URL('../../scripts/gpu-check.sh', import.meta.url).pathname;
const run = (...args) => promisify(execFile)(script, args, { maxBuffer: 2 ** 24 });

/** The newest build of the bench. */
async function bench() {
	const deps = join(binDir(), 'deps');
	const files = (await readdir(deps)).filter((name) => /^gpu-[0-9a-f]{16}$/.test(name));
	const built = await Promise.all(
		files.map(async (name) => ({ path: join(deps, name), time: (await stat(join(deps, name))).mtimeMs })),
	);
	const newest = built.sort((a, b) => b.time - a.time)[0];
	assert.ok(newest, 'the bench is built with all targets: scripts/test.sh build');
	return newest.path;
}

let folder;
before(async () => {
	folder = await mkdtemp(join(tmpdir(), 'kaisar-gpu-check-'));
	await symlink(binary('kaisar-agent'), join(folder, 'kaisar-agent'));
	await symlink(await bench(), join(folder, 'gpu-bench'));
});
after(() => rm(folder, { recursive: true, force: true }));

test('one command leaves a report of all that a GPU has to show', async () => {
	const path = join(folder, 'report.json');
	await run('--try', '--built', folder, '--report', path);
	const report = JSON.parse(await readFile(path, 'utf8'));
	assert.deepEqual(report.failed, []);
	assert.equal(report.tried_only, true);
	assert.ok(report.kernels.some(({ error }) => error === null));
	const [measured] = report.bench;
	for (const figure of ['productGops', 'turnMs', 'walkGbps', 'copyGbps', 'fillGops']) {
		assert.ok(measured[figure] > 0, `${figure}: ${measured[figure]}`);
	}
	assert.equal(measured.partGbps.length, 4, 'a part for each matrix of the window');
	assert.ok(report.calibrate[0].reference.trialTurns > 0);
	assert.equal(report.calibrate[0].reference.calibrated, false, 'software is no reference');
	assert.equal(report.identities.length, 2);
	assert.ok(report.trial.length > 0);
});

test('what is missing is named', async () => {
	await assert.rejects(run('--built', tmpdir()), ({ code, stderr }) => {
		assert.equal(code, 1);
		assert.match(stderr, /does not contain kaisar-agent and gpu-bench/);
		assert.match(stderr, /gpu-check\.sh build FOLDER/);
		return true;
	});
});
