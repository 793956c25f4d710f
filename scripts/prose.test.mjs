import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'node:test';

import { check, codeSpans, commandLine, fences, headings, namesIn, shellCommands } from './prose.mjs';

const SCRIPT = fileURLToPath(new URL('./prose.mjs', import.meta.url));

/** Returns the faults of files, given as `path: text`, as lines of output. */
const faults = (files) => check(new Map(Object.entries(files))).map(({ path, line, text }) => `${path}:${line}: ${text}`);

/** Asserts that the faults of files begin as expected, and that there are no others. */
function finds(files, ...expected) {
	const found = faults(files);
	assert.equal(found.length, expected.length, found.join('\n'));
	expected.forEach((start, index) => assert.ok(found[index].startsWith(start), `${found[index]}\nnot: ${start}`));
}

const wide = 'word '.repeat(22).trim();

const CLI = `
use clap::{Args, Parser, Subcommand};
#[derive(Subcommand, Debug)]
pub enum Command {
	/// Rents a machine (or two): {not this}.
	Order(Order),
	#[command(name = "ls")]
	Orders {
		/// The order.
		order: Option<u32>,
		#[arg(long, value_name = "A LONG NAME")]
		all: bool,
	},
	SetPrice { worker: u32 },
}
#[derive(Args)]
pub struct Order {
	/// Speed, in Mb/s.
	#[arg(long, value_parser = clap::value_parser!(u32).range(1..), value_name = "MBPS")]
	pub download_mbps: Option<u32>,
	#[arg(long = "max", global = true)]
	pub(crate) most: u64,
	#[arg(value_name = "KAI")]
	amount: u64,
}`;

test('openings: doc comments of all languages are read', () => {
	finds(
		{
			'a.rs': '//! What this is.\n\n/// Who pays.\n/// What follows is fine.\nfn a() {}\n\n/// Whoever.\nfn b() {}\n',
			'b.mjs': '// How it works.\n\n/** What it is. */\nconst a = 1;\n\n/**\n * Whose it is.\n */\nexport const b = 1;\n\n// How it goes.\nfunction c() {}\n',
			'c.sh': '#!/usr/bin/env bash\n# What it does.\n\n# Who calls.\ncall() {\n\t# What is done here is no documentation.\n\ttrue\n}\n',
			'd.cu': '// What a kernel is.\n',
		},
		'a.rs:1: the doc comment opens with "What"',
		'a.rs:3: the doc comment opens with "Who"',
		'a.rs:7: the doc comment opens with "Whoever"',
		'b.mjs:1: the doc comment opens with "How"',
		'b.mjs:3: the doc comment opens with "What"',
		'b.mjs:7: the doc comment opens with "Whose"',
		'b.mjs:11: the doc comment opens with "How"',
		'c.sh:2: the doc comment opens with "What"',
		'c.sh:4: the doc comment opens with "Who"',
		'd.cu:1: the doc comment opens with "What"',
	);
});

test('openings: other words and other comments pass', () => {
	finds({
		'a.rs': '//! The whole.\n\n/// However, it is fine.\nfn a() {}\n\n// What follows is code.\nfn b() { let url = "//What"; }\n',
		'b.mjs': '// The head.\n\nfunction a() {\n\t// What comes now.\n\treturn 1;\n}\n',
	});
});

test('widths: Markdown and comments end before column 110', () => {
	finds(
		{
			'a.md': `${wide} x\n${wide}\n`,
			'a.rs': `/// ${wide}\n\t\t/// ${wide.slice(0, 100)}\nfn a() {}\nlet long = "${wide}";\n`,
			'a.sh': `#!/bin/sh\n# ${wide}\n`,
			'a.mjs': `/**\n * ${wide}\n */\n`,
		},
		'a.md:1: the line has 111 columns',
		'a.mjs:2: the line has 112 columns',
		'a.rs:1: the line has 113 columns',
		'a.rs:2: the line has 112 columns',
		'a.sh:2: the line has 111 columns',
	);
});

test('widths: tables, code and lines that are only a link may be longer', () => {
	const link = `https://example.org/${'x'.repeat(120)}`;
	finds({
		'a.md': `| ${wide} | ${wide} |\n\n\`\`\`text\n${wide} ${wide}\n\`\`\`\n\n- [here](${link})\n${link}\n[it]: ${link}\n`,
		'a.rs': `//! | ${wide} | ${wide} |\n//! ${link}\n//! \`\`\`text\n//! ${wide} ${wide}\n//! \`\`\`\n`,
	});
});

test('links: files and headings have to exist', () => {
	finds(
		{
			'README.md': [
				'# Kaisar',
				'[a](docs/a.md) [b](docs/none.md) [c](docs/a.md#two-words) [d](docs/a.md#three)',
				'[e](#kaisar) [f](#none) [g](https://example.org/docs/none.md) `[h](none.md)`',
				'[i](docs) [j](docs/a.md "A title")',
				'',
				'[k]: none.md',
			].join('\n'),
			'docs/a.md': '# Two `words`\n\n```text\n# Three\n[x](none.md)\n```\n[up](../README.md#kaisar) [out](../../x.md)\n',
		},
		'README.md:2: the link docs/none.md leads nowhere',
		'README.md:2: the link docs/a.md#three leads nowhere: docs/a.md has no heading',
		'README.md:3: the link #none leads nowhere',
		'README.md:6: the link none.md leads nowhere',
		'docs/a.md:7: the link ../../x.md leads nowhere',
	);
});

test('links: files that documentation and comments mention have to exist', () => {
	const a = '# A\n\n## 4.2 Lanes and memory\n\n## GPU: what it shows\n';
	finds(
		{
			'docs/a.md': `${a}\n\`docs/none.md\` and \`docs/a.md\`, \`docs/….md\`, \`docs/*.md\`, \`other/none.md\`\n`,
			'x.rs': [
				'//! `docs/a.md` and `docs/none.md`.',
				'//! See docs/a.md, "Lanes and',
				'//! memory" and "GPU: what it shows", and (`docs/a.md`, *No such heading*; more).',
				'//! docs/a.md#42-lanes-and-memory, docs/a.md#none, docs/a.md, "None", and docs/….md.',
				'const HOME: &str = "docs/gone.md";',
				'const REASON: &str = "docs/a.md, Lanes and memory: why";',
				'const OTHER: &str = "docs/a.md, No lanes: why"; const GPU: &str = "docs/a.md, GPU: what it shows";',
			].join('\n'),
			'x.sh': '# docs/a.md, "Lanes and memory".\n# docs/none.md.\n',
		},
		'docs/a.md:7: `docs/none.md` leads nowhere',
		'x.rs:1: docs/none.md leads nowhere',
		'x.rs:3: docs/a.md, "No such heading" leads nowhere',
		'x.rs:4: docs/a.md leads nowhere: docs/a.md has no heading with the anchor #none',
		'x.rs:4: docs/a.md, "None" leads nowhere',
		'x.rs:5: docs/gone.md leads nowhere',
		'x.rs:7: docs/a.md, "No lanes" leads nowhere',
		'x.sh:2: docs/none.md leads nowhere',
	);
});

test('links: anchors are those that GitHub makes', () => {
	const { slugs } = headings('# A `b_c`: d, e & f!\n# Twice\n# Twice\n## [Link](x.md) *end*\nUnder\n-----\n<a id="own"></a>\n');
	assert.deepEqual([...slugs], ['a-b_c-d-e--f', 'twice', 'twice-1', 'link-end', 'under', 'own']);
});

test('names: those that no source file has are found', () => {
	finds(
		{
			'docs/a.md': [
				'`Orders::gone` `Orders::place_order` `Orders.lost_call(1)` `orders.placeOrder`',
				'`GoneName` `StakeCap` `a_gone_name` `place_the_order` `--gone` `--download-mbps 3`',
				'`a_b` `README.md` `Dockerfile.agent` `https://x.org/GoneName` `gone` `GPU`',
				'```sh',
				'`GoneName`',
				'```',
				'`GoneName` for others',
			].join('\n'),
			'CHANGELOG.md': 'Removed `GoneName`.\n',
			'x.rs': 'mod Orders { fn place_order() {} fn place_the_order() {} struct StakeCap { download_mbps: u32 } }',
		},
		'docs/a.md:1: `Orders::gone` does not exist: no source file has gone',
		'docs/a.md:1: `Orders.lost_call` does not exist: no source file has lost_call',
		'docs/a.md:2: `GoneName` does not exist',
		'docs/a.md:2: `a_gone_name` does not exist',
		'docs/a.md:2: `--gone` does not exist',
		'docs/a.md:7: `GoneName` does not exist',
	);
});

test('names: code spans over two lines are read, and unclosed ones are not', () => {
	assert.deepEqual(
		codeSpans('a `b\nc` d ``e ` f`` g ` h\n\ni `j`').map(({ words }) => words),
		['b c', 'e ` f', 'j'],
	);
	assert.deepEqual(
		namesIn('kaisar order --max-price=3 Orders.PriceAboveLimit').map(({ name }) => name),
		['--max-price', 'Orders.PriceAboveLimit'],
	);
});

test('names: the list of allowed names is held to, entry by entry', () => {
	finds(
		{
			'docs/a.md': '`TheirName` `OurName`\n',
			'scripts/prose-allowed.txt': '# Theirs.\n\nTheirName: a type of another crate\nOther::name: nothing needs it\nNoReason\n',
		},
		'docs/a.md:1: `OurName` does not exist',
		'scripts/prose-allowed.txt:4: nothing needs the entry Other::name',
		'scripts/prose-allowed.txt:5: expected NAME: REASON',
	);
});

test('commands: subcommands and flags are read from clap definitions', () => {
	const { subcommands, flags } = commandLine([CLI]);
	assert.deepEqual([...subcommands], ['order', 'ls', 'set-price']);
	assert.deepEqual(
		[...flags],
		[['--help', false], ['--version', false], ['--all', false], ['--download-mbps', true], ['--max', true]],
	);
});

test('commands: those that no program knows are found', () => {
	finds(
		{
			'README.md': [
				'```sh',
				'kaisar order IMAGE --download-mbps 3 --gone     # --not-this',
				'$ sudo -u kaisar ./target/release/kaisar --max 3 rent 7 &&',
				'  kaisar ls --all | kaisar set-price 1 \\',
				'    --lost',
				'TOKEN=x ./scripts/run.sh --fast --slow; ./scripts/gone.sh',
				'cargo test --gone -p kaisar order',
				'```',
				'',
				'```text',
				'kaisar rent',
				'```',
				'Then `kaisar rent` or `kaisar order … --all`.',
			].join('\n'),
			'cli/src/args.rs': CLI,
			'scripts/run.sh': '# Runs.\ncase $1 in --fast) ;; esac\n',
		},
		'README.md:2: kaisar does not know --gone',
		'README.md:3: kaisar does not know the command rent',
		'README.md:4: kaisar does not know --lost',
		'README.md:6: scripts/run.sh does not know --slow',
		'README.md:6: the command runs scripts/gone.sh, which is not a tracked file',
		'README.md:13: kaisar does not know the command rent',
	);
});

test("commands: a library's flags are allowed for one program only", () => {
	finds(
		{
			'README.md': '```sh\nkaisar-node --chain local --dev\nkaisar --chain local\n```\n',
			'cli/src/args.rs': CLI,
			'node/src/cli.rs': 'struct Cli {\n\t#[arg(long)]\n\tdev: bool,\n}\n',
			'scripts/prose-allowed.txt': "kaisar-node --chain: an option of Substrate's node\n",
		},
		'README.md:3: kaisar does not know --chain',
	);
});

test('commands: shell code is split where a shell splits it', () => {
	assert.deepEqual(
		shellCommands(['a "b; c" \\', '  d | e # f', "g 'h && i'&&j"], 5),
		[
			{ line: 5, words: ['a', '"b; c"', 'd'] },
			{ line: 6, words: ['e'] },
			{ line: 7, words: ['g', "'h && i'"] },
			{ line: 7, words: ['j'] },
		],
	);
});

test('spelling: British words are found in prose and in names', () => {
	finds(
		{
			'a.md': 'The behaviour of a licence.\nA colourful centre, a fulfilled promise, 3 metres, an optimistic realist.\n',
			'a.rs': 'struct NeighbourOf; // cancelled\nfn a() { token.cancelled(); Event::Cancelled; initialise(); }\n',
			'a.sh': '# It is organised and serialised, and fulfils it. Otherwise, promise.\n',
			'b.toml': 'name = "favourite" # a metre\n',
			'scripts/prose-allowed.txt': 'colourful: a name of a crate\n',
		},
		'a.md:1: "behaviour" is British: write behavior',
		'a.md:1: "licence" is British: write license',
		'a.md:2: "centre" is British: write center',
		'a.rs:1: "NeighbourOf" is British: write neighbor',
		'a.rs:1: "cancelled" is British: write canceled',
		'a.rs:2: "initialise" is British: write initialize',
		'a.sh:1: "organised" is British: write organize',
		'a.sh:1: "serialised" is British: write serialize',
		'a.sh:1: "fulfils" is British: write fulfill',
		'b.toml:1: "favourite" is British: write favor',
		'b.toml:1: "metre" is British: write meter',
	);
});

test('data, locks and generated code are no prose', () => {
	finds({
		'Cargo.lock': '# What a licence is.\n',
		'a/b.ptx': '// What a licence is.\n',
		'e2e/package-lock.json': '{"licence": "x"}',
		'x/proptest-regressions/a.txt': '# What a licence is.\n',
		'data.json': '{"behaviour": 1}',
	});
	finds({ 'docker/dashboards/a.json': '{\n"title": "Finalised"\n}' }, 'docker/dashboards/a.json:2: "Finalised" is British');
});

test('fences end where they are closed, and code after them is prose again', () => {
	assert.deepEqual(
		fences('a\n```sh\nb\n```\nc\n~~~~text\n```\nd\n~~~~\n').map(({ language, first, lines }) => [language, first, lines]),
		[['sh', 3, ['b']], ['text', 7, ['```', 'd']]],
	);
});

test('the command reads tracked files, prints faults, and exits with 1', (t) => {
	const folder = mkdtempSync(join(tmpdir(), 'prose-'));
	t.after(() => rmSync(folder, { recursive: true }));
	const write = (path, text) => {
		mkdirSync(dirname(join(folder, path)), { recursive: true });
		writeFileSync(join(folder, path), text);
	};
	const git = (...args) => execFileSync('git', ['-C', folder, ...args]);
	const run = (cwd, ...args) => spawnSync(process.execPath, [SCRIPT, ...args], { cwd, encoding: 'utf8' });
	git('init', '--quiet');
	write('README.md', '# Clean\n');
	write('docs/a.md', '[b](b.md)\n');
	write('docs/b.md', '# Untracked: a licence\n');
	git('add', 'README.md', 'docs/a.md');

	const all = run(folder);
	assert.equal(all.stdout, 'docs/a.md:1: the link b.md leads nowhere: docs/b.md is not a tracked file\n');
	assert.match(all.stderr, /^error: faults in the prose: 1/);
	assert.equal(all.status, 1);

	assert.equal(run(folder, 'README.md').status, 0);
	assert.equal(run(join(folder, 'docs'), 'a.md').status, 1);
	assert.equal(run(join(folder, 'docs'), '.').status, 1);
	assert.equal(run(folder, 'none').status, 2);
	assert.equal(run(folder, '--none').status, 2);
	const help = run(folder, '--help');
	assert.equal(help.status, 0);
	assert.match(help.stdout, /^usage: node scripts\/prose\.mjs/);

	write('docs/b.md', '# Tracked\n');
	git('add', 'docs/b.md');
	assert.deepEqual({ status: run(folder).status, output: run(folder).stdout }, { status: 0, output: '' });
});
