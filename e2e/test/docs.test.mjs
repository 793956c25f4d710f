// Runs the commands that README.md, docs/cli.md, docs/guide/rent.md and docs/guide/provide.md show, as a
// provider and a customer would, on a development chain with a local registry. Each command in an `sh` block
// belongs to a section of STORY and is run, or it is one of EXCEPTIONS. A change of a page that fits neither
// fails the first tests, which need no chain.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { mnemonicGenerate } from '@polkadot/util-crypto';

import { Dev, MODEST } from '../lib/dev.mjs';
import { Shell, blocksOf, commandsIn, commandsOf, textOf } from '../lib/docs.mjs';
import { Engine } from '../lib/engine.mjs';
import { KAI } from '../lib/formulas.mjs';
import { freePort } from '../lib/net.mjs';
import { binDir } from '../lib/node.mjs';
import { plain } from '../lib/plain.mjs';
import { HOST, Registry } from '../lib/registry.mjs';
import { compare, readTemplates, setTemplate } from '../lib/templates.mjs';

const README = 'README.md';
const CLI = 'docs/cli.md';
const RENT = 'docs/guide/rent.md';
const PROVIDE = 'docs/guide/provide.md';
const PAGES = [README, CLI, RENT, PROVIDE];

/** Image that the pages order. The local registry has a stand-in of that name. */
const IMAGE = 'nginxinc/nginx-unprivileged:1.27';
const GREETING = 'a page of a container\n';
/** Amount that a new wallet gets, in KAI units. */
const FUNDS = 5_000n * KAI;

/** Values that become known while the story runs. */
const state = {};

// The tables.

/**
 * Commands that are not run, by page, each with the reason. A command is a whole one as `commandsOf` gives
 * it.
 */
const EXCEPTIONS = [
	{
		commands: { [README]: ['./scripts/dev.sh', './scripts/test.sh'] },
		reason: 'the first runs until Ctrl-C, and its steps are those of main-job.test.mjs; the second runs this test',
	},
	{
		commands: {
			[README]: ['./scripts/setup.sh', 'cargo build --release --locked --workspace --bins'],
			[PROVIDE]: [
				'git clone REPOSITORY kaisar && cd kaisar',
				'./scripts/setup.sh',
				'export CARGO_TARGET_DIR=~/.cache/kaisar/target',
				'cargo build --release --locked --workspace --bins',
				'sudo install -t /usr/local/bin "$CARGO_TARGET_DIR"/release/{kaisar-node,kaisar-agent,kaisar}',
				'sudo apt-get install nftables',
				'git pull',
			],
		},
		reason: 'they install packages, or build everything anew',
	},
	{
		commands: {
			[PROVIDE]: [
				'sudo useradd --system kaisar',
				'sudo usermod -aG docker,video,render kaisar',
				'sudo install -D -m 644 CHAIN-SPEC.json /etc/kaisar/chain.json',
				'sudo cp scripts/systemd/kaisar-provider.service /etc/systemd/system/',
				"printf 'CHAIN=/etc/kaisar/chain.json\\nARGS=--name my-machine\\n' | sudo tee /etc/kaisar/provider.env",
				'sudo ufw allow 30500/udp && sudo ufw allow 30333/tcp',
				'sudo systemctl daemon-reload',
				'sudo systemctl enable --now kaisar-provider',
				'journalctl -fu kaisar-provider',
				'sudo systemctl restart kaisar-provider',
				'sudo -u kaisar bash',
			],
		},
		reason: "they change the machine's users, firewall and systemd units; the node of the test runs without them",
	},
	{
		commands: {
			[CLI]: ['kaisar-agent serve-measure --mbps 2000 --minutes 30'],
			[PROVIDE]: ['ssh -N -L 9944:127.0.0.1:9944 NODE &'],
		},
		reason: 'they need a second machine',
	},
	{
		commands: {
			[PROVIDE]: [
				'dc="docker compose -f docker/compose.yaml"',
				'$dc exec provider kaisar-node key insert --chain local --base-path /data --key-type kwrk --scheme sr25519',
				'$dc exec -T provider-agent kaisar-agent detect --json --region DE --data-dir /data >claim.json',
				'$dc cp provider-agent:/agent/key agent.key',
				'kaisar --suri //Bob register --no-plot --spec claim.json --worker-key-file worker.phrase --agent-key-file agent.key',
			],
		},
		reason: 'they need Docker Compose with images of this repository',
	},
	{
		commands: {
			[RENT]: [
				'kaisar connect 7 --listen 127.0.0.1:2222',
				'ssh -p 2222 -o UserKnownHostsFile=/dev/null root@127.0.0.1',
			],
		},
		// agent/tests/containers/templates.rs deploys each template and speaks to its stand-in.
		reason: "the story's one machine rests after its second order, so the order before them finds none",
	},
];

/**
 * Sections whose commands are run, in the order of a story that has one machine. `by` names the shell, and
 * `first` prepares what a reader has at this point. A section with `again` has only commands that the page
 * named there shows word for word; they are not run a second time.
 */
const STORY = [
	{ by: 'provider', heading: "3. Make the worker's key", page: PROVIDE },
	{ by: 'provider', first: agentRuns, heading: '4. See what the machine can prove', page: PROVIDE },
	{ by: 'provider', heading: '5. Make a wallet and fund it', page: PROVIDE },
	{ by: 'provider', heading: '6. Register', page: PROVIDE },
	{ by: 'customer', heading: '1. Make a wallet', page: RENT },
	{ by: 'customer', heading: '2. Choose a machine and ask for the price', page: RENT },
	{ by: 'provider', heading: 'Looking after an agent', page: CLI },
	{ by: 'provider', first: plotFiles, heading: 'Filling the plot', page: CLI },
	{ by: 'second', first: exportedWallet, heading: 'Wallets', page: CLI },
	{ by: 'provider', first: machineIsOnline, heading: '7. Wait for the check, and for rewards', page: PROVIDE },
	{ by: 'newcomer', first: machineIsIdle, heading: 'Try it', page: README },
	// The machine rests after its order.
	{ by: 'customer', heading: 'The container', page: CLI },
	{ by: 'customer', first: templatesAreRegistered, heading: 'Templates', page: CLI },
	{ by: 'provider', first: copiedKeys, heading: 'With the wallet elsewhere', page: PROVIDE },
	{ by: 'provider', heading: 'Stop for a while', page: PROVIDE },
	{ by: 'provider', heading: 'Leave for good', page: PROVIDE },
	{ by: 'customer', heading: 'Providing a machine', page: CLI },
	{ by: 'customer', first: machineIsIdle, heading: '4. Order', page: RENT },
	{ by: 'customer', heading: '5. Connect', page: RENT },
	{ by: 'customer', heading: '6. While it runs', page: RENT },
	{ by: 'customer', heading: 'When something goes wrong', page: RENT },
	{ by: 'customer', heading: '7. End it', page: RENT },
	{ by: 'customer', heading: 'Templates', page: RENT },
	{ again: README, heading: 'Try it on this machine', page: RENT },
	{ again: RENT, heading: 'Renting a machine', page: CLI },
];

/**
 * Texts that are replaced in commands, in this order: `from` by `to()`, on one page or on all. The node's
 * URL is in KAISAR_URL and the password in KAISAR_PASSWORD, as the pages allow.
 */
const SUBSTITUTIONS = [
	{ from: /\$HOME\/\.cache\/kaisar\/target\/debug/, to: () => binDir(), why: 'binaries of this build' },
	{ from: /docker\.io\/(?=nginxinc\/)/, to: () => `${HOST}/`, why: 'the local registry' },
	{
		from: /(?<=^kaisar order registry\S+) --class rtx4090/,
		to: () => ` ${state.ports.map((port) => `--port ${port}`).join(' ')} --class none`,
		why: 'a machine without a GPU; and the two ports that the example of several ports is about',
	},
	{
		from: /(?<=^kaisar (orders|connect|extend|cancel|report) )7\b/,
		to: () => state.order,
		why: 'the number of the order',
	},
	{
		from: /(?<=^kaisar (status|set-price|set-delegation-cap|go-offline|go-online|claim|deregister|withdraw) )3\b/,
		to: () => state.worker,
		why: 'the number of the worker',
	},
	{ from: /(?<=--listen 127\.0\.0\.1:)\d+/g, to: () => '0', why: 'free local ports' },
	{ from: /(?<=--listen 127\.0\.0\.1:0=)22\b/, to: () => state.ports[1], why: "the stand-in's second port" },
	{
		from: /^kaisar connect (?!.*--private-addresses).*$/,
		to: (text) => `${text} --private-addresses`,
		why: 'the agent is on this machine',
	},
	{ from: /^sudo -u kaisar (?=kaisar-node )/, to: () => '', why: 'the user of the test' },
	{
		from: /(?<=--chain )\/etc\/kaisar\/chain\.json/,
		to: () => 'dev',
		why: 'the development chain',
	},
	{
		from: /(?<=key insert .*--base-path )\/var\/lib\/kaisar\/provider(.*)$/,
		to: (_, rest) => `${state.spare}${rest} --suri ${state.phraseFile}`,
		why: "a further base path, since the development chain's node has its key; and the phrase from a file",
	},
	{
		from: /(?<=--node-dir )\/var\/lib\/kaisar\/provider/,
		page: CLI,
		to: () => state.spare,
		why: 'the further base path, for a second worker',
	},
	{ from: /\/var\/lib\/kaisar\/provider/g, to: () => state.node, why: 'base path of the node' },
	{ from: /BASE-PATH/, to: () => state.node, why: 'base path of the node' },
	{ from: /\bCHAIN\b/, to: () => state.chain, why: "the chain's folder" },
	{
		from: /--measure PEER/,
		to: () => `--download-mbps ${MODEST.downloadMbps} --upload-mbps ${MODEST.uploadMbps}`,
		why: 'there is no second machine; the guide names these options for this case',
	},
	{
		from: /kaisar register .*$/,
		to: (text) =>
			`${text} --class none --cpu-cores ${MODEST.cpuCores} --memory ${MODEST.memoryGb} --disk ${MODEST.diskGb}`,
		why: 'the claim of the smallest machine that is rented out, which any test machine supports',
	},
	{
		from: /--disk-gb 2000/,
		to: () => `--group-mib 16 --groups 1 --node ${state.url}`,
		why: 'a plot of some MiB instead of 1.75 TB',
	},
];

/**
 * Expectations of commands beyond exit code 0: exit codes, with the reason if the command fails here;
 * patterns that the output shows; steps that follow with the output. `instead` is done in place of the
 * command.
 */
const EXPECTED = [
	{
		page: PROVIDE,
		shows: [/Secret phrase: +\w+( \w+){11}/, /Public key/],
		text: 'kaisar-node key generate --scheme sr25519',
		then: async (output) => {
			const [, phrase] = /Secret phrase: +(.+)/.exec(output);
			await writeFile(state.phraseFile, phrase.trim(), { mode: 0o600 });
		},
	},
	{
		page: PROVIDE,
		text: 'sudo -u kaisar kaisar-node key insert --chain /etc/kaisar/chain.json --base-path /var/lib/kaisar/provider --key-type kwrk --scheme sr25519',
		then: async () => {
			// A node that has run has its agent's key beside the keystore.
			const chains = join(state.spare, 'chains');
			const [chain] = await readdir(chains);
			const keys = await readdir(join(chains, chain, 'keystore'));
			assert.equal(keys.filter((name) => name.startsWith('6b77726b')).length, 1, `${keys}`);
			const agent = join(chains, chain, 'agents', 'provider');
			await mkdir(agent, { mode: 0o700, recursive: true });
			await writeFile(join(agent, 'key'), randomBytes(32).toString('hex'), { mode: 0o600 });
		},
	},
	{
		codes: [0, 3],
		page: PROVIDE,
		// 3: something may need attention, such as the flags for an engine of any version.
		text: 'kaisar-agent status --data-dir $agent',
	},
	{
		page: PROVIDE,
		text: 'kaisar-agent detect --json --region DE --data-dir $agent/data --measure PEER >/var/lib/kaisar/provider/claim.json',
		then: async () => {
			const claim = JSON.parse(await readFile(join(state.node, 'claim.json'), 'utf8'));
			assert.deepEqual([claim.region, claim.upload_mbps], ['DE', MODEST.uploadMbps]);
		},
	},
	{
		page: PROVIDE,
		shows: [/^ +\w+( \w+){11}$/m, /Address +5\w+/],
		text: 'kaisar create-wallet',
		then: (output) => {
			const [, phrase] = /^ +(\w+(?: \w+){11})$/m.exec(output);
			// `Dev.confirmed` acts for the owner.
			dev.provider = dev.keys.pair(phrase);
		},
	},
	{ page: PROVIDE, shows: [/Address +5\w+/, /Client key +0x/], text: 'kaisar address', then: fund },
	{ page: PROVIDE, shows: [/Free +5,?000 KAI/], text: 'kaisar status' },
	{ page: PROVIDE, shows: [/RTX_4090/], text: 'kaisar classes' },
	{
		page: PROVIDE,
		shows: [/worker 0 is registered: no GPU, 4 cores/],
		text: 'kaisar register --spec /var/lib/kaisar/provider/claim.json --node-dir /var/lib/kaisar/provider',
		then: () => {
			state.machine = Number(state.worker);
		},
	},
	{ page: PROVIDE, shows: [/State +Online/], text: 'kaisar status 3' },
	{
		codes: [0, 5],
		page: PROVIDE,
		// 5: no epoch has ended.
		shows: [/claimed|NothingToClaim/],
		text: 'kaisar claim',
	},
	{
		page: PROVIDE,
		shows: [/worker 1 is registered/],
		text: 'kaisar register --spec claim.json --worker-key-file worker.phrase --agent-key-file agent.key',
	},
	{ page: PROVIDE, shows: [/is offline until/], text: 'kaisar go-offline 3' },
	{ page: PROVIDE, shows: [/is deregistered/], text: 'kaisar deregister 3' },
	{
		codes: [4],
		page: PROVIDE,
		// Seven days have not passed.
		shows: [/NothingToWithdraw/],
		text: 'kaisar withdraw 3',
	},
	{
		codes: [5],
		page: PROVIDE,
		// The worker was never verified.
		shows: [/NothingToClaim/],
		text: 'kaisar claim 3',
	},

	{ page: README, shows: [/KAI per core-hour/, /Idle machines +1 /], text: 'kaisar --suri //Bob quote --class none --hours 1' },
	{
		page: README,
		shows: [/^Order +0$/m, /^State +Active$/m, new RegExp(`^Image +${HOST}/${IMAGE}$`, 'm')],
		text: `kaisar --suri //Bob order docker.io/${IMAGE} --class none --hours 1 --wait`,
		then: () => assert.ok(registry.pulled.has(IMAGE), 'the image comes from the registry'),
	},
	{ page: README, shows: [/order 0 is canceled/], text: 'kaisar --suri //Bob cancel 0' },

	{ page: RENT, shows: [/^ +\w+( \w+){11}$/m, /Wallet +\S+\/\.config\/kaisar\/wallet\.json/], text: 'kaisar create-wallet' },
	{ page: RENT, shows: [/Address +5\w+/, /Client key +0x/], text: 'kaisar address', then: fund },
	{ page: RENT, shows: [/Free +5,?000 KAI/], text: 'kaisar status' },
	{ page: RENT, shows: [/RTX_4090/, /^TIER/m], text: 'kaisar classes' },
	{ page: RENT, shows: [/1 × RTX_4090/, /KAI per GPU-hour/, /for 24 h of 1 GPU/], text: 'kaisar quote --class rtx4090 --hours 24' },
	{
		page: RENT,
		shows: [/^Order +\d+$/m, /^State +Active$/m],
		text: `kaisar order docker.io/${IMAGE} --class rtx4090 --hours 24 --wait`,
		then: (output) => {
			state.order = /^Order +(\d+)$/m.exec(output)[1];
		},
	},
	{
		instead: async () => {
			const { addresses } = connection;
			assert.equal(addresses.length, 2);
			assert.match(await greetingOf(addresses[1]), /^SSH-2\.0-/);
		},
		page: RENT,
		// The stand-in greets as an SSH server does, and is none.
		text: 'ssh -p 2222 root@127.0.0.1',
	},
	{ page: RENT, shows: [/Active/, /nginx-unprivileged/], text: 'kaisar orders' },
	{ page: RENT, shows: [/^State +Active$/m, /^Ends at /m, /^In escrow /m], text: 'kaisar orders 7' },
	{ page: RENT, shows: [/is extended by 12 h/], text: 'kaisar extend 7 --hours 12' },
	{ page: RENT, shows: [/is reported, and its worker will be checked/], text: 'kaisar report 7 --reason not-serving' },
	{ page: RENT, shows: [/is canceled/], text: 'kaisar cancel 7' },
	{
		codes: [6],
		page: RENT,
		// The machine is checked after the order before.
		shows: [/NoSuitableWorker/],
		text: 'kaisar order template:9 --class none --hours 1 --wait --env "SSH_PUBLIC_KEY=$(cat ~/.ssh/id_ed25519.pub)"',
	},

	{
		codes: [6],
		page: CLI,
		// The chain accepts the order, and no machine has a GPU.
		shows: [/NoSuitableWorker/],
		text: 'kaisar order docker.io/vllm/vllm-openai:v0.10.2 --class rtx4090 --hours 24 --wait --arg --model --arg Qwen/Qwen3-4B --env VLLM_LOGGING_LEVEL=WARNING --port 8000 --deploy-minutes 60',
	},
	{ page: CLI, shows: [/^TEMPLATE +IMAGE/m, /ubuntu:24\.04/], text: 'kaisar templates' },
	{ page: CLI, shows: [/^Image +docker\.io\/vllm\//m, /^TCP ports +8000$/m], text: 'kaisar templates 7' },
	{
		codes: [6],
		page: CLI,
		// The same.
		shows: [/NoSuitableWorker/],
		text: 'kaisar order template:7 --class rtx4090 --hours 24 --wait --deploy-minutes 60',
	},
	{
		page: CLI,
		shows: [/worker 2 is registered/, /stake 650 KAI/],
		text: 'kaisar-agent detect --json --region DE --measure PEER | kaisar register --spec - --node-dir /var/lib/kaisar/provider --stake 650',
	},
	{ page: CLI, shows: [/^State +Pending/m], text: 'kaisar status 3' },
	{ page: CLI, shows: [/not rented out below 0\.35 KAI/], text: 'kaisar set-price 3 0.35' },
	{ page: CLI, shows: [/at most 5,?000 KAI/], text: 'kaisar set-delegation-cap 3 5000' },
	{ page: CLI, shows: [/is offline until/], text: 'kaisar go-offline 3' },
	{
		codes: [0, 4],
		page: CLI,
		// 4: the round in which the worker was due has started.
		shows: [/is back online|CheckRunning|AlreadyDue/],
		text: 'kaisar go-online 3',
	},
	{
		codes: [5],
		page: CLI,
		// A new worker has no rewards.
		shows: [/NothingToClaim/],
		text: 'kaisar claim',
	},
	{ page: CLI, shows: [/is deregistered/], text: 'kaisar deregister 3' },
	{
		codes: [4],
		page: CLI,
		// Seven days have not passed.
		shows: [/NothingToWithdraw/],
		text: 'kaisar withdraw 3',
	},
	{ page: CLI, shows: [/^The plot of 0x/m], text: 'kaisar-agent plot --data-dir DATA --key-file KEY --disk-gb 2000' },
	{
		codes: [0, 3],
		page: CLI,
		// 3: as above.
		text: 'kaisar-agent status --data-dir BASE-PATH/chains/CHAIN/agents/provider',
	},
	{ page: CLI, shows: [/Address +5\w+/], text: 'kaisar import-wallet --from exported.json' },
];

/** Outputs that pages show, in order, each with the files that print them. */
const OUTPUTS = {
	[README]: [['e2e/story.mjs'], ['scripts/test.sh', 'scripts/lib.sh']],
};

// The pages, without a chain.

const isException = ({ page, text }) => EXCEPTIONS.some(({ commands }) => commands[page]?.includes(text));
const isOf = (section) => ({ heading, page }) => page === section.page && heading === section.heading;
const where = ({ line, page, text }) => `${page}:${line}: ${text}`;
const COMMANDS = PAGES.flatMap(commandsOf);

/** Returns the commands of a section that are run. */
const commandsToRun = (section) => COMMANDS.filter(isOf(section)).filter((command) => !isException(command));

test('commands are split as a shell splits them', () => {
	const lines = [
		'# a comment',
		'one --a  "b # c"   # d',
		'two \\',
		"  --e '#f' |",
		'  three --g # h',
		'',
		'four && # i',
		'five #j',
	];
	assert.deepEqual(commandsIn(lines, 10), [
		{ line: 11, text: 'one --a  "b # c"' },
		{ line: 12, text: "two --e '#f' | three --g" },
		{ line: 16, text: 'four && five' },
	]);
	const page = ['# Top', '```sh', '# not a heading', 'one', '```', '## Next `code`', '```text', 'two', '```'];
	assert.deepEqual(
		blocksOf(page.join('\n')).map(({ heading, language }) => [heading, language]),
		[['Top', 'sh'], ['Next `code`', 'text']],
	);
});

test('each command of the pages is run, or is an exception with a reason', () => {
	assert.ok(COMMANDS.length > 50, `${COMMANDS.length} commands`);
	const without = COMMANDS.filter(
		(command) => !isException(command) && !STORY.some((section) => isOf(section)(command)),
	);
	assert.deepEqual(without.map(where), [], 'add the section to STORY, or the command to EXCEPTIONS');
});

test('the tables name only what the pages show', () => {
	const has = (page, text) => COMMANDS.some((command) => command.page === page && command.text === text);
	const exceptions = EXCEPTIONS.flatMap(({ commands }) =>
		Object.entries(commands).flatMap(([page, texts]) => texts.map((text) => ({ page, text }))),
	);
	const stale = [...exceptions, ...EXPECTED].filter(({ page, text }) => !has(page, text));
	assert.deepEqual(stale.map(({ page, text }) => `${page}: ${text}`), []);
	const empty = STORY.filter((section) => !commandsToRun(section).length);
	assert.deepEqual(empty.map(({ heading, page }) => `${page}: ${heading}`), []);
	for (const section of STORY.filter(({ again }) => again)) {
		for (const command of commandsToRun(section)) {
			assert.ok(has(section.again, command.text), `${where(command)} is not on ${section.again}`);
		}
	}
});

test('outputs that the pages show have the words of the programs that print them', () => {
	for (const page of PAGES) {
		const shown = blocksOf(textOf(page)).filter(({ language }) => language === 'text');
		const sources = OUTPUTS[page] ?? [];
		assert.equal(shown.length, sources.length, `${page}: add its outputs to OUTPUTS`);
		shown.forEach(({ first, lines }, index) => {
			const source = sources[index].map(textOf).join('\n');
			const unknown = lines.join('\n').match(/[A-Za-z]{4,}/g).filter((word) => !source.includes(word));
			assert.deepEqual(unknown, [], `${page}:${first}: ${sources[index]} do not print these words`);
		});
	}
});

// The story.

let connection;
let dev;
let engine;
let folder;
let registry;
const shells = {};

/** Waits until the provider's agent runs. */
async function agentRuns() {
	await dev.node.logged(/The agent provider is ready/);
}

/** Makes the key and the folder of an agent whose plot is filled. */
async function plotFiles() {
	const { home } = shells.provider;
	await mkdir(join(home, 'DATA'));
	await writeFile(join(home, 'KEY'), randomBytes(32).toString('hex'), { mode: 0o600 });
}

/** Copies the customer's wallet, as a browser extension exports it. */
async function exportedWallet() {
	const wallet = join(shells.customer.home, '.config', 'kaisar', 'wallet.json');
	await copyFile(wallet, join(shells.second.home, 'exported.json'));
}

/** Waits until a committee has confirmed the machine's claim. */
async function machineIsOnline() {
	await dev.confirmed(state.machine, { blocks: 200 });
}

/** Waits until the machine has passed its due checks, and can be matched. */
async function machineIsIdle() {
	await dev.watch.until(
		async () => plain(await dev.chain.view('Providers', 'worker', [state.machine])).listed,
		'the machine is listed',
		{ blocks: 200 },
	);
}

/** Registers the repository's templates. */
async function templatesAreRegistered() {
	const { templates } = readTemplates();
	const compared = await compare(dev.chain, templates);
	await Promise.all(compared.map((entry) => setTemplate(dev.chain, dev.sudo, entry)));
}

/** Puts copies of a claim and of a worker's keys where the wallet is. */
async function copiedKeys() {
	const { home } = shells.provider;
	await copyFile(join(state.node, 'claim.json'), join(home, 'claim.json'));
	await writeFile(join(home, 'worker.phrase'), mnemonicGenerate(), { mode: 0o600 });
	await writeFile(join(home, 'agent.key'), randomBytes(32).toString('hex'), { mode: 0o600 });
}

/** Sends KAI to the address that `kaisar address` printed. */
async function fund(output) {
	const [, address] = /Address +(5\w+)/.exec(output);
	await dev.chain.send(dev.sudo, dev.api.tx.balances.transferKeepAlive(address, FUNDS));
}

/** Returns what a server sends first. */
function greetingOf(address) {
	const { hostname, port } = new URL(address);
	return new Promise((resolve, reject) => {
		const socket = connect(Number(port), hostname);
		socket.setEncoding('utf8');
		socket.setTimeout(20_000, () => socket.destroy(new Error(`${address} sends nothing`)));
		socket.once('error', reject);
		socket.once('close', () => reject(new Error(`${address} sends nothing`)));
		socket.once('data', (text) => {
			resolve(text);
			socket.destroy();
		});
	});
}

const used = new Set();

/** Returns a command with the substitutions of its page. */
function substituted({ page, text }) {
	let result = text;
	for (const substitution of SUBSTITUTIONS.filter((each) => (each.page ?? page) === page)) {
		const { from, to } = substitution;
		const before = result;
		result = result.replace(from, (...found) => `${to(...found)}`);
		if (result !== before) {
			used.add(substitution);
		}
	}
	return result;
}

/** Starts `kaisar connect`, waits for its local addresses, and fetches the page of the first one. */
async function openTunnel(shell, text) {
	const count = text.match(/--listen /g).length;
	const running = shell.start(`exec ${text}`);
	connection = { addresses: [], running };
	const line = /order \d+ is at (127\.0\.0\.1:\d+)\n/g;
	await running.shown(new RegExp(`(${line.source}[^]*?){${count}}`));
	connection.addresses = [...running.output.matchAll(line)].map(([, address]) => `http://${address}/`);
	const response = await fetch(connection.addresses[0], { signal: AbortSignal.timeout(20_000) });
	assert.equal(await response.text(), GREETING);
}

/** Ends `kaisar connect` as Ctrl-C does, if it runs. */
async function closeTunnel() {
	const { running } = connection ?? {};
	connection = undefined;
	if (running) {
		running.signal('SIGINT');
		const { code } = await running.ended;
		assert.equal(code, 0, running.output);
	}
}

/** Runs a command of a page, and compares its outcome with the table. */
async function perform(shell, command) {
	const { codes = [0], instead, shows = [], then } =
		EXPECTED.find(({ page, text }) => page === command.page && text === command.text) ?? {};
	if (instead) {
		await instead();
		return;
	}
	await closeTunnel();
	const text = substituted(command);
	if (/^kaisar (--suri \S+ )?connect /.test(text)) {
		await openTunnel(shell, text);
		return;
	}
	const { code, output } = await shell.run(text);
	const told = `${where(command)}\nrun as: ${text}\n${output}`;
	assert.ok(codes.includes(code), `exit code ${code}, not ${codes.join(' or ')}: ${told}`);
	const registered = /worker (\d+) is registered/.exec(output);
	if (registered) {
		state.worker = registered[1];
	}
	for (const pattern of shows) {
		assert.match(output, pattern, told);
	}
	await then?.(output);
}

describe('the commands of the pages, in the order of a story', () => {
	before(async () => {
		folder = await mkdtemp(join(tmpdir(), 'kaisar-docs-'));
		// If containers share the machine's network, these are ports of the machine.
		state.ports = [await freePort(), await freePort()];
		const [page, shell] = state.ports;
		registry = await Registry.start({
			[IMAGE]: {
				command: ['/bin/serve'],
				files: {
					'bin/greet': "#!/bin/sh\nprintf 'SSH-2.0-stand-in\\r\\n'\nexec cat >/dev/null\n",
					// The first port listens last, so both do when it answers.
					'bin/serve': `#!/bin/sh\nnc -ll -p ${shell} -e /bin/greet &\nexec httpd -f -p ${page} -h /www\n`,
					'www/index.html': GREETING,
				},
				ports: [page],
				programs: ['cat', 'httpd', 'nc', 'sh'],
			},
		});
		engine = await Engine.start({ registry: registry.address });
		dev = await Dev.start({ args: ['--dev', ...engine.agentArgs()] });
		state.node = dev.node.basePath;
		[state.chain] = await readdir(join(state.node, 'chains'));
		state.url = dev.node.url.replace('ws:', 'http:');
		state.spare = join(folder, 'spare');
		state.phraseFile = join(folder, 'phrase');
		const env = {
			KAISAR_PASSWORD: 'correct horse battery staple',
			KAISAR_URL: dev.node.url,
			KAISAR_WALLET: undefined,
			NO_COLOR: '1',
			PATH: [binDir(), process.env.PATH].join(delimiter),
			XDG_CONFIG_HOME: undefined,
		};
		for (const name of ['customer', 'newcomer', 'provider', 'second']) {
			const home = join(folder, name);
			await mkdir(join(home, '.ssh'), { recursive: true });
			const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f olga@example\n';
			await writeFile(join(home, '.ssh', 'id_ed25519.pub'), key);
			shells[name] = new Shell(home, env);
		}
	});
	after(async () => {
		connection?.running.signal('SIGKILL');
		await dev?.stop();
		await engine?.stop();
		await registry?.stop();
		await rm(folder, { force: true, recursive: true });
	});

	for (const section of STORY.filter(({ again }) => !again)) {
		test(`${section.page}: ${section.heading}`, async () => {
			await section.first?.();
			for (const command of commandsToRun(section)) {
				await perform(shells[section.by], command);
			}
			await closeTunnel();
		});
	}

	test('each substitution was needed', () => {
		const idle = SUBSTITUTIONS.filter((each) => !used.has(each));
		assert.deepEqual(idle.map(({ why }) => why), []);
	});
});
