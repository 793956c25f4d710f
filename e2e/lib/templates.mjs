// Templates of the repository: reads the files of templates/, checks them, and registers them on a chain.

import { readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { u8aToHex } from '@polkadot/util';
import { blake2AsHex } from '@polkadot/util-crypto';

import { plain } from './plain.mjs';

/** Folder of the repository's templates. */
export const TEMPLATES = fileURLToPath(new URL('../../templates', import.meta.url));

/** Limits of the chain (primitives/src/order.rs, pallets/orders/src/workload.rs). */
const MOST = { bytes: 2_048, capabilities: 8, image: 255, items: 64, ports: 8 };

/** Bytes that a template may take of those for arguments and environment. The rest is for an order's own. */
const MOST_OWN_BYTES = 1_024;

/** Capabilities that a template can name, with the chain's name for each. */
const CAPABILITIES = {
	CHOWN: 'Chown',
	DAC_OVERRIDE: 'DacOverride',
	FOWNER: 'Fowner',
	KILL: 'Kill',
	NET_BIND_SERVICE: 'NetBindService',
	SETGID: 'SetGid',
	SETUID: 'SetUid',
};

// Tests of values.
const text = (value) => typeof value === 'string' && value.trim() !== '';
const listOf = (test) => (value) => Array.isArray(value) && value.every(test);
const integer = (least, most) => (value) => Number.isInteger(value) && value >= least && value <= most;
const optional = (test) => (value) => value === null || test(value);
const oneOf = (...values) => (value) => values.includes(value);
const plainText = (value) => typeof value === 'string';
const port = integer(1, 65_535);

/** Fields of a template, and of the parts of one, each with the test of its value. */
const FIELDS = {
	access: {
		connect: listOf(text),
		protocol: oneOf('http', 'ssh', 'tcp'),
		secret: text,
	},
	capabilities: { name: (value) => Object.hasOwn(CAPABILITIES, value), reason: text },
	hardware: {
		arch: (value) => listOf(oneOf('amd64', 'arm64'))(value) && value.length > 0,
		gpu: oneOf('amd', 'none', 'nvidia', 'optional'),
		gpu_memory_gb: optional(integer(1, 1_024)),
		min_cuda: optional(integer(100, 65_535)),
		min_disk: integer(0, 4),
		min_driver: optional(integer(1, 65_535)),
		min_memory: integer(0, 4),
	},
	parameters: {
		default: optional(plainText),
		env: (value) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(value),
		example: text,
		required: oneOf(true, false),
		text,
	},
	ports: { port, text },
	template: {
		access: (value) => typeof value === 'object',
		args: listOf(plainText),
		capabilities: listOf((value) => typeof value === 'object'),
		env: listOf(plainText),
		hardware: (value) => typeof value === 'object',
		health: text,
		id: integer(0, 0xffff_ffff),
		image: text,
		name: (value) => /^[a-z0-9]+(-[a-z0-9]+)*$/.test(value),
		parameters: listOf((value) => typeof value === 'object'),
		ports: listOf((value) => typeof value === 'object'),
		text,
		title: text,
		upstream: (value) => typeof value === 'object',
	},
	upstream: {
		cmd: listOf(text),
		entrypoint: listOf(text),
		exposed: listOf(port),
		source: (value) => /^https:\/\//.test(value),
		user: (value) => /^\d+$/.test(value),
	},
};

/** Returns the fields of an object that are missing, unknown or wrong. */
function faultsOfFields(object, kind, where) {
	const fields = FIELDS[kind];
	const at = where ? `${where}.` : '';
	if (object === null || typeof object !== 'object') {
		return [`${where || 'the file'} is not an object`];
	}
	return [
		...Object.keys(object)
			.filter((name) => !Object.hasOwn(fields, name))
			.map((name) => `${at}${name} is not a field of a template`),
		...Object.entries(fields).flatMap(([name, fits]) => {
			if (!Object.hasOwn(object, name)) {
				return [`${at}${name} is missing`];
			}
			return fits(object[name]) ? [] : [`${at}${name} has a wrong value: ${JSON.stringify(object[name])}`];
		}),
	];
}

const bytes = (...texts) => texts.reduce((sum, each) => sum + Buffer.byteLength(each), 0);
const repeated = (values) => values.filter((value, index) => values.indexOf(value) !== index);

/** Returns the faults of a template, one sentence each. */
export function faultsOf(template) {
	const faults = faultsOfFields(template, 'template', '');
	if (faults.length) {
		return faults;
	}
	for (const kind of ['access', 'hardware', 'upstream']) {
		faults.push(...faultsOfFields(template[kind], kind, kind));
	}
	for (const kind of ['capabilities', 'parameters', 'ports']) {
		template[kind].forEach((part, index) => faults.push(...faultsOfFields(part, kind, `${kind}[${index}]`)));
	}
	if (faults.length) {
		return faults;
	}
	const { args, capabilities, env, image, parameters, ports } = template;
	const check = (holds, fault) => {
		if (!holds) {
			faults.push(fault);
		}
	};
	check(Buffer.byteLength(image) <= MOST.image, `image is longer than ${MOST.image} bytes`);
	check(/^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$/.test(image), 'image has characters that no reference has');
	check(
		/^[a-z0-9.-]+\.[a-z]+(:\d+)?\/.+\/.+(:[\w.-]+|@sha256:[0-9a-f]{64})$/.test(image),
		'image is not a full name with registry, folder and tag',
	);
	check(!/:(latest|nightly|main|master)$/.test(image), 'image has a tag that moves with each build');
	for (const [name, items] of [['args', args], ['env', env]]) {
		check(items.length <= MOST.items, `${name} has more than ${MOST.items} entries`);
		check(!items.some((item) => item.includes('\0')), `${name} has a zero byte`);
	}
	check(env.every((variable) => variable.indexOf('=') > 0), 'env has an entry that is not NAME=VALUE');
	const own = bytes(...args, ...env);
	check(own <= MOST_OWN_BYTES, `args and env have ${own} bytes, more than ${MOST_OWN_BYTES}`);
	// The template's own variables and those of an order are counted together.
	const given = parameters.map(({ env: name, example }) => `${name}=${example}`);
	const all = own + bytes(...given);
	check(all <= MOST.bytes, `with all parameters it has ${all} bytes, more than ${MOST.bytes}`);
	check(env.length + given.length <= MOST.items, `with all parameters env has more than ${MOST.items} entries`);
	check(ports.length > 0, 'ports is empty: the first one is the port that has to answer');
	check(ports.length <= MOST.ports, `ports has more than ${MOST.ports} entries`);
	check(capabilities.length <= MOST.capabilities, `capabilities has more than ${MOST.capabilities} entries`);
	for (const [name, values] of [
		['ports', ports.map((each) => each.port)],
		['capabilities', capabilities.map((each) => each.name)],
		['parameters', parameters.map((each) => each.env)],
	]) {
		repeated(values).forEach((value) => faults.push(`${name} has ${value} twice`));
	}
	for (const parameter of parameters) {
		const set = env.find((variable) => variable.startsWith(`${parameter.env}=`));
		check(
			set === undefined || set === `${parameter.env}=${parameter.default}`,
			`the default of ${parameter.env} is not the one in env`,
		);
		check(
			!(parameter.required && parameter.default !== null),
			`${parameter.env} is required and has a default`,
		);
	}
	return faults;
}

/**
 * Reads the templates of a folder, by ascending id, each with the `metadata` that the chain stores: the hash
 * of its file. Returns the faults of all files as well.
 */
export function readTemplates(folder = TEMPLATES) {
	const templates = [];
	const faults = [];
	const files = readdirSync(folder).filter((file) => file.endsWith('.json')).sort();
	for (const file of files) {
		const content = readFileSync(join(folder, file));
		let template;
		try {
			template = JSON.parse(content.toString('utf8'));
		} catch (error) {
			faults.push(`${file}: ${error.message}`);
			continue;
		}
		const found = faultsOf(template);
		if (found.length === 0 && template.name !== basename(file, '.json')) {
			found.push(`the name ${template.name} is not that of the file`);
		}
		if (found.length) {
			faults.push(...found.map((fault) => `${file}: ${fault}`));
		} else {
			templates.push({ ...template, metadata: blake2AsHex(content, 256) });
		}
	}
	if (files.length === 0) {
		faults.push(`${folder} has no templates`);
	}
	for (const key of ['id', 'name']) {
		const values = templates.map((template) => template[key]);
		repeated(values).forEach((value) => faults.push(`two templates have the ${key} ${value}`));
	}
	templates.sort((a, b) => a.id - b.id);
	return { faults, templates };
}

/** Returns a template in the form of the call. */
export function chainForm({ args, capabilities, env, image, metadata, ports }) {
	const hex = (item) => u8aToHex(Buffer.from(item, 'utf8'));
	return {
		args: args.map(hex),
		capabilities: capabilities.map(({ name }) => CAPABILITIES[name]),
		env: env.map(hex),
		image: hex(image),
		metadata,
		ports: ports.map((each) => each.port),
	};
}

/**
 * Compares templates with a chain's list. Returns for each the `call` that registers it, and its `state`:
 * `unchanged`, `new`, or `changed` with the `fields` that differ.
 */
export async function compare(chain, templates) {
	const { api } = chain;
	const compared = [];
	for (const template of templates) {
		const call = api.tx.orders.setTemplate(template.id, chainForm(template));
		const [, wanted] = call.method.args;
		const found = await chain.view('Orders', 'template', [template.id]);
		let state = 'changed';
		let fields = [];
		if (found.isNone) {
			state = 'new';
		} else if (u8aToHex(found.toU8a()) === u8aToHex(wanted.toU8a())) {
			state = 'unchanged';
		} else {
			const [old, now] = [plain(found), plain(wanted)];
			fields = Object.keys(now).filter((name) => JSON.stringify(old[name]) !== JSON.stringify(now[name]));
		}
		compared.push({ call, fields, state, template });
	}
	return compared;
}

/** Returns the ids of a chain's list that are not among these templates. */
export async function others(chain, templates) {
	const keys = await chain.api.query.orders.templates.keys();
	const known = new Set(templates.map(({ id }) => id));
	return keys.map(({ args: [id] }) => id.toNumber()).filter((id) => !known.has(id)).sort((a, b) => a - b);
}

/** Fails unless the account holds the chain's sudo, which stands for root. */
export async function ensureSudo(chain, signer) {
	const { query } = chain.api;
	const advice = 'with --dry-run, the calls for governance are printed';
	if (!query.sudo) {
		throw new Error(`the chain has no sudo; ${advice}`);
	}
	const key = plain(await query.sudo.key());
	if (key === null) {
		throw new Error(`nobody holds the chain's sudo; ${advice}`);
	}
	if (key !== chain.api.createType('AccountId', signer.publicKey).toString()) {
		throw new Error(`${signer.address} does not hold the chain's sudo, ${key} does; ${advice}`);
	}
}

/** Sets a template as root, by sudo, and waits until it is in a block. The chain has to be watched. */
export async function setTemplate(chain, signer, { call, template }) {
	const result = await chain.send(signer, chain.api.tx.sudo.sudo(call));
	if (!result.events.some(({ data, name }) => name === 'orders.TemplateSet' && data.id === template.id)) {
		const sudo = result.events.find(({ name }) => name === 'sudo.Sudid');
		throw new Error(`template ${template.id} was refused: ${JSON.stringify(sudo?.data)}`);
	}
	return result;
}
