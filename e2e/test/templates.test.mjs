// Tests the repository's templates: their files, and scripts/templates.sh, which registers them on a
// development chain.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Dev } from '../lib/dev.mjs';
import { plain } from '../lib/plain.mjs';
import { TEMPLATES, chainForm, faultsOf, readTemplates } from '../lib/templates.mjs';

const SCRIPT = fileURLToPath(new URL('../../scripts/templates.sh', import.meta.url));

let dev;
let folder;
before(async () => {
	folder = await mkdtemp(join(tmpdir(), 'kaisar-templates-'));
	await cp(TEMPLATES, folder, { recursive: true });
	dev = await Dev.start({ args: ['--dev', '--no-agents'] });
});
after(async () => {
	await dev?.stop();
	await rm(folder, { force: true, recursive: true });
});

/** Runs the script. Returns its exit code and its output. */
function run(...args) {
	return new Promise((resolve) => {
		const env = { ...process.env, KAISAR_SURI: '', KAISAR_URL: dev.node.url, NO_COLOR: '1' };
		execFile(SCRIPT, args, { env, timeout: 300_000 }, (error, stdout, stderr) =>
			resolve({ code: error ? error.code : 0, stderr, stdout }),
		);
	});
}

/** Returns the states that the script printed, by the templates' names. */
function states(stdout) {
	const lines = stdout.matchAll(/^ *\d+ {2}(\S+) +(unchanged|registered|updated|would register|would update) /gm);
	return Object.fromEntries([...lines].map(([, name, state]) => [name, state]));
}

/** Returns the state of all templates, if it is the same one. */
const all = (state) => Object.fromEntries(readTemplates().templates.map(({ name }) => [name, state]));

/** Returns a template of the chain. */
const stored = async (id) => plain(await dev.chain.view('Orders', 'template', [id]));

/** Returns the changes of templates so far, up to the chain's best block. */
async function changes() {
	const head = await dev.api.rpc.chain.getHeader();
	await dev.watch.block(head.number.toNumber());
	return dev.watch.all('orders.TemplateSet').map(({ data }) => data.id);
}

test('all files keep the limits', () => {
	const { faults, templates } = readTemplates();
	assert.deepEqual(faults, []);
	assert.deepEqual(
		templates.map(({ id }) => id),
		[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
	);
	for (const { capabilities, name, ports, upstream } of templates) {
		// A program that is not root has no use for a capability: the agent sets no-new-privileges.
		assert.ok(upstream.user === '0' || capabilities.length === 0, name);
		// Containers may listen on low ports without it.
		assert.ok(!capabilities.some((each) => each.name === 'NET_BIND_SERVICE'), name);
		assert.ok(ports.length > 0, name);
	}
});

test('a fault of a file is named', async () => {
	const nginx = JSON.parse(await readFile(join(TEMPLATES, 'nginx.json'), 'utf8'));
	const cases = [
		[(it) => delete it.health, /health is missing/],
		[(it) => (it.extra = 1), /extra is not a field/],
		[(it) => (it.id = -1), /id has a wrong value/],
		[(it) => (it.image = 'nginx:1.27'), /not a full name/],
		[(it) => (it.image = 'docker.io/library/nginx'), /not a full name/],
		[(it) => (it.image = 'docker.io/library/nginx:latest'), /a tag that moves/],
		[(it) => (it.image = `docker.io/library/${'n'.repeat(250)}:1`), /longer than 255 bytes/],
		[(it) => (it.image = 'docker.io/library/ng inx:1'), /characters that no reference has/],
		[(it) => (it.args = Array(65).fill('a')), /args has more than 64 entries/],
		[(it) => (it.args = ['a\0b']), /zero byte/],
		[(it) => (it.args = ['a'.repeat(1_025)]), /1025 bytes, more than 1024/],
		[(it) => (it.env = ['=a']), /not NAME=VALUE/],
		[(it) => (it.parameters[0].example = 'a'.repeat(2_048)), /with all parameters it has/],
		[(it) => (it.parameters[0].env = 'A-B'), /env has a wrong value/],
		[(it) => (it.env = ['SITE_URL=a']), /the default of SITE_URL is not the one in env/],
		[(it) => (it.parameters[0].required = true) && (it.parameters[0].default = 'a'), /required and has a default/],
		[(it) => (it.ports = []), /ports is empty/],
		[(it) => (it.ports = [1, 1].map((port) => ({ port, text: 'a' }))), /ports has 1 twice/],
		[(it) => (it.ports = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((port) => ({ port, text: 'a' }))), /more than 8/],
		[(it) => (it.ports[0].port = 65_536), /port has a wrong value/],
		[(it) => (it.capabilities[0].name = 'SYS_ADMIN'), /name has a wrong value: "SYS_ADMIN"/],
		[(it) => (it.capabilities[0].name = 'SETUID'), /capabilities has SETUID twice/],
		[(it) => (it.capabilities[0].reason = ''), /reason has a wrong value/],
		[(it) => (it.hardware.min_memory = 5), /min_memory has a wrong value/],
	];
	for (const [change, fault] of cases) {
		const changed = structuredClone(nginx);
		change(changed);
		assert.match(faultsOf(changed).join('\n'), fault);
	}
	assert.deepEqual(faultsOf(nginx), []);

	await writeFile(join(folder, 'other.json'), JSON.stringify(nginx));
	const misnamed = await run('--check', '--templates', folder);
	assert.equal(misnamed.code, 1);
	assert.match(misnamed.stderr, /other\.json: the name nginx is not that of the file/);
	await writeFile(join(folder, 'other.json'), JSON.stringify({ ...nginx, name: 'other' }));
	assert.match((await run('--check', '--templates', folder)).stderr, /two templates have the id 10/);
	await writeFile(join(folder, 'other.json'), '{');
	assert.match((await run('--check', '--templates', folder)).stderr, /other\.json: /);
	await rm(join(folder, 'other.json'));
	assert.equal((await run('--check', '--templates', folder)).code, 0);
});

test('a dry run, and an account without the right, change nothing', async () => {
	const dry = await run('--dry-run');
	assert.equal(dry.code, 0, dry.stderr);
	assert.deepEqual(states(dry.stdout), all('would register'));
	// The printed calls are those that governance can make.
	const { templates } = readTemplates();
	const calls = [...dry.stdout.matchAll(/^ +call: (0x[0-9a-f]+)$/gm)].map(([, call]) => call);
	assert.deepEqual(
		calls,
		templates.map((one) => dev.api.tx.orders.setTemplate(one.id, chainForm(one)).method.toHex()),
	);
	for (const [args, error] of [
		[[], /no account given/],
		[['--suri', '//Bob'], /does not hold the chain's sudo/],
	]) {
		const refused = await run(...args);
		assert.equal(refused.code, 1);
		assert.match(refused.stderr, error);
	}
	assert.equal((await run('--unknown')).code, 2);
	assert.deepEqual(await changes(), []);
	assert.equal(await stored(1), null);
});

test('all templates are registered once, and read back', async () => {
	const { templates } = readTemplates();
	const first = await run('--suri', '//Alice');
	assert.equal(first.code, 0, first.stderr);
	assert.deepEqual(states(first.stdout), all('registered'));
	const ids = templates.map(({ id }) => id);
	assert.deepEqual(await changes(), ids);
	for (const template of templates) {
		const { args, capabilities, env, image, metadata, ports } = await stored(template.id);
		const text = (hex) => Buffer.from(hex.slice(2), 'hex').toString('utf8');
		assert.equal(text(image), template.image);
		assert.deepEqual(args.map(text), template.args);
		assert.deepEqual(env.map(text), template.env);
		assert.deepEqual(ports, template.ports.map(({ port }) => port));
		// The chain's names are those of engines without the underscores.
		const names = capabilities.map((name) => name.toUpperCase());
		assert.deepEqual(names, template.capabilities.map(({ name }) => name.replaceAll('_', '')));
		assert.equal(metadata, template.metadata);
	}

	const again = await run('--suri', '//Alice');
	assert.equal(again.code, 0, again.stderr);
	assert.deepEqual(states(again.stdout), all('unchanged'));
	// The account is not needed for this.
	assert.deepEqual(states((await run('--suri', '//Bob')).stdout), all('unchanged'));
	assert.deepEqual(await changes(), ids);
});

test('only a template that differs is updated, and others are left alone', async () => {
	const { api, chain, sudo } = dev;
	const { templates } = readTemplates();
	const other = api.tx.orders.setTemplate(99, chainForm({ ...templates[0], metadata: null }));
	await chain.send(sudo, api.tx.sudo.sudo(other));
	const path = join(folder, 'ollama.json');
	const ollama = JSON.parse(await readFile(path, 'utf8'));
	ollama.env = ['OLLAMA_KEEP_ALIVE=5m'];
	await writeFile(path, JSON.stringify(ollama));
	const before = await changes();

	const result = await run('--suri', '//Alice', '--templates', folder);
	assert.equal(result.code, 0, result.stderr);
	assert.deepEqual(states(result.stdout), { ...all('unchanged'), ollama: 'updated' });
	assert.match(result.stdout, /differed in: env, metadata/);
	assert.match(result.stdout, /99 {2}left alone/);
	assert.deepEqual(await changes(), [...before, ollama.id]);
	assert.equal((await stored(ollama.id)).env.length, 1);
	assert.notEqual(await stored(99), null);
});

test('the chain refuses a template beyond its limits, and the script says so', async () => {
	const { api, chain, sudo } = dev;
	const [template] = readTemplates().templates;
	for (const change of [
		{ args: ['a'.repeat(1_024), 'b'.repeat(1_025)], env: [] },
		{ env: ['=a'] },
		{ ports: [1, 1].map((port) => ({ port })) },
		{ image: '-v' },
	]) {
		const call = api.tx.orders.setTemplate(100, chainForm({ ...template, ...change }));
		const { events } = await chain.send(sudo, api.tx.sudo.sudo(call));
		assert.ok(!events.some(({ name }) => name === 'orders.TemplateSet'), JSON.stringify(change));
	}
	assert.equal(await stored(100), null);
	const limit = { args: ['a'.repeat(1_024), 'b'.repeat(1_024)], env: [] };
	const call = api.tx.orders.setTemplate(100, chainForm({ ...template, ...limit }));
	await chain.send(sudo, api.tx.sudo.sudo(call));
	assert.notEqual(await stored(100), null);
});
