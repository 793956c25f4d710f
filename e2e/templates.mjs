#!/usr/bin/env node
// Checks the repository's templates, and registers them on a chain. `scripts/templates.sh` runs it, and has
// its help.

import { connect as dial } from 'node:net';
import { parseArgs } from 'node:util';

import { Chain } from './lib/chain.mjs';
import { Keys } from './lib/keys.mjs';
import { TEMPLATES, compare, ensureSudo, others, readTemplates, setTemplate } from './lib/templates.mjs';

/** Time for a node to answer, in milliseconds. */
const PATIENCE = 20_000;

function options() {
	try {
		const { values } = parseArgs({
			options: {
				check: { type: 'boolean' },
				'dry-run': { type: 'boolean' },
				suri: { default: process.env.KAISAR_SURI, type: 'string' },
				templates: { default: TEMPLATES, type: 'string' },
				url: { default: process.env.KAISAR_URL ?? 'ws://127.0.0.1:9944', type: 'string' },
			},
		});
		return values;
	} catch (error) {
		console.error(`error: ${error.message}\nadvice: scripts/templates.sh --help`);
		process.exit(2);
	}
}

/** Fails unless something listens at the address of a node: the client's library would try without end. */
async function ensureListens(url) {
	if (!URL.canParse(url) || !/^wss?:/.test(url)) {
		throw new Error(`${url} is not the address of a node, such as ws://127.0.0.1:9944`);
	}
	const { hostname, port, protocol } = new URL(url);
	await new Promise((resolve, reject) => {
		const socket = dial(Number(port) || (protocol === 'wss:' ? 443 : 80), hostname.replace(/^\[|\]$/g, ''));
		const fail = (why) => {
			socket.destroy();
			reject(new Error(`no node answers at ${url}: ${why}`));
		};
		socket.setTimeout(PATIENCE, () => fail(`nothing within ${PATIENCE / 1000} s`));
		socket.once('error', ({ message }) => fail(message));
		socket.once('connect', () => {
			socket.destroy();
			resolve();
		});
	});
}

/** Connects to a node, or fails after a while: what listens may not be one. */
async function connect(url) {
	await ensureListens(url);
	let timer;
	const late = new Promise((_, reject) => {
		const why = `what listens at ${url} has not answered as a node within ${PATIENCE / 1000} s`;
		timer = setTimeout(() => reject(new Error(why)), PATIENCE);
	});
	try {
		return await Promise.race([Chain.connect(url), late]);
	} finally {
		clearTimeout(timer);
	}
}

const line = ({ id, image, name }, what) =>
	console.log(`${String(id).padStart(4)}  ${name.padEnd(12)}  ${what.padEnd(14)}  ${image}`);

/** Prints the parts of a template that the chain stores. */
function print(template) {
	line(template, 'checked');
	const part = (name, values) => {
		if (values.length) {
			console.log(`        ${name}: ${values.join(' ')}`);
		}
	};
	part('args', template.args.map((value) => JSON.stringify(value)));
	part('env', template.env);
	part('ports', template.ports.map(({ port }) => port));
	part('capabilities', template.capabilities.map(({ name }) => name));
	part('metadata', [template.metadata]);
}

async function main({ check, 'dry-run': dryRun, suri, templates: folder, url }) {
	const { faults, templates } = readTemplates(folder);
	if (faults.length) {
		throw new Error(`templates with faults:\n  ${faults.join('\n  ')}`);
	}
	if (check) {
		templates.forEach(print);
		console.log(`${templates.length} templates keep the limits`);
		return;
	}
	if (!dryRun && !suri) {
		throw new Error('no account given: --suri URI, or KAISAR_SURI; or --dry-run');
	}
	const chain = await connect(url);
	try {
		const compared = await compare(chain, templates);
		const outdated = compared.filter(({ state }) => state !== 'unchanged');
		let signer;
		if (!dryRun && outdated.length) {
			signer = new Keys().pair(suri);
			await ensureSudo(chain, signer);
			await chain.startWatch();
		}
		for (const entry of compared) {
			const { call, fields, state, template } = entry;
			if (state === 'unchanged') {
				line(template, 'unchanged');
			} else if (dryRun) {
				line(template, state === 'new' ? 'would register' : 'would update');
				if (fields.length) {
					console.log(`        differs in: ${fields.join(', ')}`);
				}
				console.log(`        call: ${call.method.toHex()}`);
			} else {
				const { block } = await setTemplate(chain, signer, entry);
				line(template, state === 'new' ? 'registered' : 'updated');
				if (fields.length) {
					console.log(`        differed in: ${fields.join(', ')}`);
				}
				console.log(`        block ${block}`);
			}
		}
		for (const id of await others(chain, templates)) {
			console.log(`${String(id).padStart(4)}  left alone: not one of these templates`);
		}
		if (!dryRun) {
			const left = (await compare(chain, templates)).filter(({ state }) => state !== 'unchanged');
			if (left.length) {
				throw new Error(`the chain's list differs still: ${left.map(({ template }) => template.name).join(', ')}`);
			}
		}
		const count = compared.length - outdated.length;
		console.log(`${outdated.length} ${dryRun ? 'to set' : 'set'}, ${count} unchanged`);
	} finally {
		await chain.stop();
		await chain.disconnect();
	}
}

try {
	await main(options());
	process.exit(0);
} catch (error) {
	console.error(`error: ${error.message}`);
	process.exit(1);
}
