#!/usr/bin/env node
// Checks the repository's prose by rules that need no judgment: openings of doc comments, widths of lines,
// links and references, names and commands in documentation, spelling.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path/posix';
import { fileURLToPath } from 'node:url';

const HELP = `usage: node scripts/prose.mjs [PATH …]

Checks the prose of all tracked files, and prints a line for each fault: FILE:LINE: what is wrong. With paths,
prints only the faults in these files and folders; names and links are still looked up in the whole repository.

  openings    A doc comment does not open with What, Who, Whose, Whoever or How.
  widths      A line of Markdown or of a comment ends before column 110; a tab counts as 4 columns. Tables, code
              blocks, and lines that are only a link may be longer.
  links       A relative link, and a mention of a file in backticks, in a comment or in a string, leads to a tracked
              file. Its anchor, or the heading after it, exists in that file. Headings are recognized in comments,
              as in docs/proof.md, "Definitions", and in strings, as in "docs/proof.md, Definitions: the reason".
  names       A name in backticks in documentation that looks like one of ours occurs in a source file: Pallet::item,
              Pallet.call, CamelCase, snake_case of three or more parts, --flag.
  commands    A command in documentation calls a subcommand and flags that its program's sources define.
  spelling    Words and names are American: license, behavior, color, canceled.

Names and commands of other software are listed in scripts/prose-allowed.txt, each with its reason. An entry that
no file needs is a fault too.

Exit codes: 0 no faults; 1 faults; 2 the arguments are wrong.`;

const MOST_COLUMNS = 109;
const TAB_COLUMNS = 4;
const ALLOWED = 'scripts/prose-allowed.txt';

/** Matches this check's own files, which quote the faults that they find. */
const OWN = /^scripts\/prose[.-]/;
/** Matches files of names and addresses that nobody wrote as prose, or that others wrote. */
const DATA = /(^|\/)(package-lock\.json|Cargo\.lock|LICENSE)$|\.(ptx|jsonl)$|\/corpus\/|proptest-regressions\//;

/** Matches data with texts that people read. */
const SHOWN = /(^|\/)dashboards\/.*\.json$/;

// Files and their kinds.

/** Returns how a file marks comments: `slash`, `hash`, or `md` for Markdown; nothing for other files. */
export function kindOf(path) {
	if (DATA.test(path)) {
		return undefined;
	}
	if (/\.md$/.test(path)) {
		return 'md';
	}
	if (/\.(rs|mjs|js|ts|cu|cpp|h|inc)$/.test(path)) {
		return 'slash';
	}
	const hash = /\.(sh|py|toml|ya?ml|service|dockerignore)$|(^|\/)(Dockerfile(\.\w+)?|\.gitignore|run)$/;
	return hash.test(path) ? 'hash' : undefined;
}

/** Tells whether a Markdown file describes today's software: a changelog names what is gone. */
const isDocumentation = (path) => kindOf(path) === 'md' && basename(path) !== 'CHANGELOG.md';

/** Returns the line, counted from 1, of an offset in a text. */
function lineAt(text, offset) {
	let line = 1;
	for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) {
		line += 1;
	}
	return line;
}

/** Returns the columns that a line takes. */
function columns(line) {
	let count = 0;
	for (const character of line) {
		count += character === '\t' ? TAB_COLUMNS - (count % TAB_COLUMNS) : 1;
	}
	return count;
}

// Comments.

/**
 * Returns the blocks of comments that have lines of their own. A block is a run of lines with one marker:
 * its `first` line counted from 1, the `marker`, and the `lines` without it.
 */
export function commentBlocks(text, kind) {
	const blocks = [];
	let open;
	let starred = false;
	text.split('\n').forEach((line, index) => {
		const add = (marker, words) => {
			if (!open || open.marker !== marker) {
				open = { first: index + 1, marker, lines: [] };
				blocks.push(open);
			}
			open.lines.push(words);
		};
		const bare = line.trim();
		if (starred) {
			add('/**', bare.replace(/\*\/.*$/, '').replace(/^\*\s?/, ''));
			starred = !bare.includes('*/');
			return;
		}
		if (kind === 'slash' && bare.startsWith('/*')) {
			open = undefined;
			add('/**', bare.replace(/^\/\*+!?\s?/, '').replace(/\*\/.*$/, ''));
			starred = !bare.includes('*/');
			return;
		}
		const found = kind === 'slash' ? /^(\/\/[/!]?)(?:\s(.*))?$/.exec(bare) : /^(#)(?:\s(.*))?$/.exec(bare);
		if (found) {
			add(found[1], found[2] ?? '');
		} else {
			open = undefined;
		}
	});
	return blocks;
}

/** Tells whether a block documents an item, or its file. */
function isDoc(block, lines, kind) {
	if (['///', '//!', '/**'].includes(block.marker)) {
		return true;
	}
	const before = lines.slice(0, block.first - 1);
	if (before.every((line) => line.startsWith('#!') || line.trim() === '')) {
		return true;
	}
	const next = lines[block.first - 1 + block.lines.length] ?? '';
	const script = /^[\w-]+\(\)|^[A-Z_]+=/;
	const code = /^(export|async|function|const|let|class|__\w+|static|template|struct)\b/;
	return (kind === 'hash' ? script : code).test(next);
}

function openings(path, text, report) {
	const kind = kindOf(path);
	const lines = text.split('\n');
	for (const block of commentBlocks(text, kind)) {
		// Other comments of Rust are no documentation.
		if (!isDoc(block, lines, kind) || (path.endsWith('.rs') && block.marker === '//')) {
			continue;
		}
		const at = block.lines.findIndex((line) => line.trim() !== '');
		const opening = /^(What|Who|Whom|Whose|Whoever|Whatever|How)\b/.exec((block.lines[at] ?? '').trim());
		if (opening) {
			report(block.first + at, `the doc comment opens with "${opening[1]}": open with a noun, or with a verb`);
		}
	}
}

// Widths.

const ONLY_LINK = /^\s*([-*>]\s+)?(!?\[[^\]]*\]\([^)]*\)|\[[^\]]+\]:\s*\S+|<?https?:\/\/\S+>?)[.,;:]?\s*$/;

function widths(path, text, report) {
	const kind = kindOf(path);
	const tooWide = (line, number) => {
		const width = columns(line);
		if (width > MOST_COLUMNS) {
			report(number, `the line has ${width} columns: wrap it before column ${MOST_COLUMNS + 1}`);
		}
	};
	if (kind === 'md') {
		const plain = withoutFences(text).split('\n');
		plain.forEach((line, index) => {
			if (!/^\s*\|/.test(line) && !ONLY_LINK.test(line)) {
				tooWide(line, index + 1);
			}
		});
		return;
	}
	const lines = text.split('\n');
	for (const block of commentBlocks(text, kind)) {
		let fenced = false;
		block.lines.forEach((words, index) => {
			const fence = /^\s*(```|~~~)/.test(words);
			fenced = fence ? !fenced : fenced;
			if (!fence && !fenced && !/^\s*\|/.test(words) && !ONLY_LINK.test(words)) {
				tooWide(lines[block.first - 1 + index], block.first + index);
			}
		});
	}
}

// Markdown.

/** Returns the fenced code blocks of a Markdown text: language, first line counted from 1, and lines. */
export function fences(text) {
	const found = [];
	let open;
	text.split('\n').forEach((line, index) => {
		const fence = /^\s*(?:[-*>]\s+)?(`{3,}|~{3,})\s*([\w-]*)/.exec(line);
		if (open && fence && fence[1].startsWith(open.mark) && fence[2] === '') {
			open = undefined;
		} else if (open) {
			open.lines.push(line);
		} else if (fence) {
			open = { mark: fence[1], language: fence[2], first: index + 2, lines: [] };
			found.push(open);
		}
	});
	return found;
}

/** Returns a Markdown text with its fenced code blocks made blank, line for line. */
function withoutFences(text) {
	const lines = text.split('\n');
	for (const { first, lines: code } of fences(text)) {
		for (let at = first - 2; at <= first - 1 + code.length && at < lines.length; at += 1) {
			lines[at] = '';
		}
	}
	return lines.join('\n');
}

/** Returns the code spans of a Markdown text without fences: words, and offset. */
export function codeSpans(text) {
	const spans = [];
	for (const found of text.matchAll(/(?<!`)(`+)(?!`)((?:(?!\n\s*\n)[\s\S])*?)(?<!`)\1(?!`)/g)) {
		spans.push({ words: found[2].replace(/\s+/g, ' ').trim(), offset: found.index });
	}
	return spans;
}

/** Returns a text with its code spans made blank, at the same offsets. */
const withoutSpans = (text) =>
	text.replace(/(?<!`)(`+)(?!`)((?:(?!\n\s*\n)[\s\S])*?)(?<!`)\1(?!`)/g, (span) => span.replace(/[^\n]/g, ' '));

/** Returns a heading's words, as a reader quotes them. */
const plainHeading = (heading) =>
	heading
		.replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
		.replace(/[`*]/g, '')
		.replace(/\s+#*\s*$/, '')
		.trim();

/** Returns the anchors and the headings of a Markdown text, as GitHub makes them. */
export function headings(text) {
	const slugs = new Set();
	const titles = new Set();
	const counts = new Map();
	const add = (raw) => {
		const title = plainHeading(raw);
		titles.add(normalTitle(title));
		const slug = title
			.toLowerCase()
			.replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, '')
			.replace(/ /g, '-');
		const count = counts.get(slug) ?? 0;
		counts.set(slug, count + 1);
		slugs.add(count ? `${slug}-${count}` : slug);
	};
	const lines = withoutFences(text).split('\n');
	lines.forEach((line, index) => {
		const heading = /^ {0,3}#{1,6}\s+(.*)$/.exec(line);
		if (heading) {
			add(heading[1]);
		} else if (/^(=+|-+)\s*$/.test(line) && /^[^\s|#>*-]/.test(lines[index - 1] ?? '')) {
			add(lines[index - 1]);
		}
		for (const anchor of line.matchAll(/<a\s+(?:id|name)="([^"]+)"/g)) {
			slugs.add(anchor[1]);
		}
	});
	return { slugs, titles };
}

/** Returns a heading without its number, to compare: "4.2 Committees" is quoted as "Committees" too. */
const normalTitle = (title) =>
	plainHeading(title)
		.replace(/\s+/g, ' ')
		.replace(/^§?\d[\d.]*\s+/, '')
		.replace(/[.,;:]$/, '')
		.toLowerCase();

// Links and references.

/** Returns the tracked paths and all folders above them. */
function places(files) {
	const all = new Set();
	for (const path of files.keys()) {
		for (let at = path; at !== '.'; at = dirname(at)) {
			all.add(at);
		}
	}
	return all;
}

/** Matches a path in the repository, not one with placeholders. */
const PATH = /^\.?[\w.-]+(\/[\w.-]+)+\/?$/;
const REFERENCE = /\bdocs\/[\w/.-]*\w\.md/g;

function links(path, text, report, { files, all, headingsOf }) {
	const anchor = (target, slug, number, written) => {
		if (slug && files.has(target) && kindOf(target) === 'md' && !headingsOf(target).slugs.has(slug)) {
			report(number, `${written} leads nowhere: ${target} has no heading with the anchor #${slug}`);
		}
	};
	if (kindOf(path) === 'md') {
		const prose = withoutFences(text);
		const bare = withoutSpans(prose);
		const found = [
			...bare.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g),
			...bare.matchAll(/^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)>?/gm),
		];
		for (const { 1: link, index } of found) {
			if (/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(link)) {
				continue;
			}
			const number = lineAt(bare, index);
			const [to, slug] = link.split('#');
			const decoded = decodeURIComponent(to);
			const target = decoded === '' ? path : normalize(join(dirname(path), decoded)).replace(/\/$/, '');
			if (!all.has(target) && target !== '.') {
				report(number, `the link ${link} leads nowhere: ${target} is not a tracked file`);
			} else {
				anchor(target, slug, number, `the link ${link}`);
			}
		}
		if (isDocumentation(path)) {
			for (const { words, offset } of codeSpans(prose)) {
				const target = words.replace(/[#:].*$/, '').replace(/\/$/, '');
				const known = [target, normalize(join(dirname(path), target))].some((it) => all.has(it));
				if (PATH.test(words) && all.has(target.split('/')[0]) && target.includes('/') && !known) {
					report(lineAt(prose, offset), `\`${words}\` leads nowhere: ${target} is not a tracked file`);
				}
			}
		}
		return;
	}
	text.split('\n').forEach((line, index) => {
		for (const [target] of line.matchAll(REFERENCE)) {
			if (!all.has(target)) {
				report(index + 1, `${target} leads nowhere: it is not a tracked file`);
			}
		}
	});
	const titled = (target, titles, number) => {
		if (files.has(target) && !titles.some((title) => headingsOf(target).titles.has(normalTitle(title)))) {
			report(number, `${target}, "${titles[0]}" leads nowhere: the file has no such heading`);
		}
	};
	for (const { 1: target, 2: title, index } of text.matchAll(/"(docs\/[\w/.-]*\w\.md), ([^";]+)(?=[";])/g)) {
		// A heading may have a colon itself.
		titled(target, [title.replace(/:.*$/s, ''), title], lineAt(text, index));
	}
	for (const block of commentBlocks(text, kindOf(path))) {
		const words = block.lines.join('\n');
		for (const found of words.matchAll(REFERENCE)) {
			const target = found[0];
			if (!files.has(target)) {
				continue;
			}
			const number = block.first + lineAt(words, found.index) - 1;
			const rest = words.slice(found.index + target.length);
			anchor(target, /^#([\w-]+)/.exec(rest)?.[1], number, target);
			const quoted = /^`?,\s+((?:(?:"[^"]+"|\*[^*]+\*)(?:,?\s+and\s+|,\s+)?)+)/.exec(rest);
			for (const heading of quoted?.[1].matchAll(/"([^"]+)"|\*([^*]+)\*/g) ?? []) {
				titled(target, [(heading[1] ?? heading[2]).replace(/\s+/g, ' ')], number);
			}
		}
	}
}

// Names.

const snake = (name) =>
	name
		.replace(/([a-z0-9])([A-Z])/g, '$1_$2')
		.replace(/-/g, '_')
		.toLowerCase();

/** Returns all words, and all flags, of the repository's sources. */
function vocabulary(files) {
	const words = new Set();
	const flags = new Set();
	for (const [path, text] of files) {
		if (DATA.test(path) || OWN.test(path) || kindOf(path) === 'md') {
			continue;
		}
		for (const [word] of text.matchAll(/[A-Za-z_]\w*/g)) {
			words.add(word);
		}
		for (const [flag] of text.matchAll(/(?<![\w-])--[a-z][a-z0-9-]*/g)) {
			flags.add(flag);
		}
	}
	return { words, flags };
}

/** Matches a file's name, without its folder. */
const FILE_NAME = /(?<![\w./-])[\w-]+\.(md|rs|mjs|sh|toml|jsonl?|ya?ml|lock|txt|cu|ptx|h|cpp|agent|node|relay)\b/g;

/** Returns the names in a code span that look like ours, each with the words that the sources must have. */
export function namesIn(span) {
	if (span.includes('://')) {
		return [];
	}
	const names = [];
	let rest = span;
	const take = (pattern, parts) => {
		rest = rest.replace(pattern, (name, ...groups) => {
			const needed = parts(name, groups);
			if (needed) {
				names.push({ name, needed });
			}
			return ' '.repeat(name.length);
		});
	};
	take(/(?<![\w-])--[a-z][a-z0-9-]*/g, (name) => [name]);
	take(/(?<![\w.])\w+(?:::\w+)+/g, (name) => name.split('::').filter((part) => /^[A-Za-z_]/.test(part)));
	// A file's name is not a call.
	take(FILE_NAME, () => null);
	take(/(?<![\w./])[A-Z][A-Za-z]+\.[A-Za-z_]\w*/g, (name) => name.split('.'));
	take(/(?<![\w/-])[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+(?![\w])/g, (name) => [name]);
	take(/(?<![\w/.-])[a-z][a-z0-9]*(?:_[a-z0-9]+){2,}(?![\w])/g, (name) => [name]);
	return names;
}

function names(path, text, report, { words, flags, allows }) {
	const prose = withoutFences(text);
	const known = (part) =>
		part.startsWith('--')
			? flags.has(part) || words.has(snake(part.slice(2))) || allows(`kaisar-node ${part}`)
			: words.has(part) || words.has(snake(part));
	for (const { words: span, offset } of codeSpans(prose)) {
		for (const { name, needed } of namesIn(span)) {
			const missing = needed.filter((part) => !known(part) && !allows(part));
			if (missing.length && !allows(name)) {
				const what = missing.join(' and ');
				report(lineAt(prose, offset), `\`${name}\` does not exist: no source file has ${what}`);
			}
		}
	}
}

// Commands.

/** The programs of the repository, and the folders of their sources. */
const PROGRAMS = {
	kaisar: 'cli/src/',
	'kaisar-agent': 'agent/src/',
	'kaisar-node': 'node/src/',
	'kaisar-relay': 'relay/src/',
	'kaisar-simulation': 'simulation/src/',
};

const kebab = (name) => snake(name).replace(/_/g, '-');

/** Returns the offset after the bracket that closes the one at `start`, outside of strings. */
function closing(text, start) {
	const pairs = { '(': ')', '[': ']', '{': '}' };
	let depth = 0;
	for (let at = start; at < text.length; at += 1) {
		if (text.startsWith('//', at)) {
			at = text.indexOf('\n', at);
			if (at === -1) {
				break;
			}
		} else if (text[at] === '"') {
			for (at += 1; at < text.length && text[at] !== '"'; at += 1) {
				at += text[at] === '\\' ? 1 : 0;
			}
		} else if (pairs[text[at]]) {
			depth += 1;
		} else if (Object.values(pairs).includes(text[at])) {
			depth -= 1;
			if (depth === 0) {
				return at + 1;
			}
		}
	}
	return text.length;
}

/** Matches the field that an attribute is for: its name and its type. */
const FIELD = /^(?:\s*(?:#\[[^\n]*\]|\/\/[^\n]*)\n)*\s*(?:pub(?:\([^)]*\))?\s+)?(\w+):\s*([^,\n]+)/;

/**
 * Reads the definitions that clap derives a command line from: subcommands from the variants of enums with
 * `Subcommand`, flags from fields with `#[arg(long)]`. Returns the subcommands, and for each flag whether it
 * takes a value.
 */
export function commandLine(sources) {
	const subcommands = new Set();
	const flags = new Map([['--help', false], ['--version', false]]);
	for (const text of sources) {
		for (const found of text.matchAll(/derive\([^)]*Subcommand[^)]*\)\]/g)) {
			const start = text.indexOf('{', text.indexOf('enum', found.index));
			const body = text.slice(start + 1, closing(text, start) - 1);
			let name;
			for (let at = 0; at < body.length; ) {
				const rest = body.slice(at);
				const skip = /^(\s+|\/\/[^\n]*|,|=>?)/.exec(rest);
				if (skip) {
					at += skip[0].length;
				} else if (rest.startsWith('#[')) {
					const end = closing(body, at + 1);
					name = /\bname\s*=\s*"([^"]+)"/.exec(body.slice(at, end))?.[1] ?? name;
					at = end;
				} else if (/^[A-Z]\w*/.test(rest)) {
					const [variant] = /^\w+/.exec(rest);
					subcommands.add(name ?? kebab(variant));
					name = undefined;
					at += variant.length;
				} else if (/^[({]/.test(rest)) {
					at = closing(body, at);
				} else {
					at += 1;
				}
			}
		}
		for (const found of text.matchAll(/#\[(?:arg|clap)\(/g)) {
			const end = closing(text, found.index + 1);
			const attribute = text.slice(found.index, end);
			// A text may have the word too.
			const bare = attribute.replace(/"(?:[^"\\]|\\.)*"/g, (it) => (it.includes(' ') ? '""' : it));
			const long = /\blong\b(?:\s*=\s*"([^"]+)")?/.exec(bare);
			const field = FIELD.exec(text.slice(end));
			if (long && field) {
				flags.set(`--${long[1] ?? kebab(field[1])}`, !/^bool\b/.test(field[2].trim()));
			}
		}
	}
	return { subcommands, flags };
}

/** Splits shell code into commands: arrays of words, each with the line that it begins on. */
export function shellCommands(lines, first) {
	const commands = [];
	let words = [];
	let at = first;
	const end = () => {
		if (words.length) {
			commands.push({ line: at, words });
		}
		words = [];
	};
	lines.forEach((line, index) => {
		if (!words.length) {
			at = first + index;
		}
		const more = /\\\s*$/.test(line);
		const token = /\s*(?:(#.*$)|(\|\||&&|[|;&()])|((?:"(?:[^"\\]|\\.)*"|'[^']*'|\$\([^)]*\)|\\.|[^\s|;&()"'])+)|(.))/g;
		for (const [, comment, operator, word] of line.replace(/\\\s*$/, '').matchAll(token)) {
			if (comment) {
				break;
			}
			if (operator) {
				end();
				at = first + index;
			} else if (word) {
				words.push(word);
			}
		}
		if (!more) {
			end();
		}
	});
	end();
	return commands;
}

/** Returns a command without the prompt, the settings and the programs before it that only run another. */
function bareCommand(words) {
	let at = 0;
	while (at < words.length) {
		if (/^([$#>]|[A-Za-z_]\w*=.*|sudo|time|exec|env|nohup|nice|timeout|\d+[smh]?)$/.test(words[at])) {
			at += words[at] === 'sudo' && words[at + 1] === '-u' ? 3 : 1;
		} else {
			break;
		}
	}
	return words.slice(at);
}

/** Returns the faults of a command, if it calls a program of the repository. */
function commandFaults(words, { all, files, programs, allows }) {
	const [called, ...rest] = bareCommand(words);
	if (!called) {
		return [];
	}
	const script = [called, ...(/^(bash|sh|node|source|\.)$/.test(called) ? rest.slice(0, 1) : [])]
		.map((word) => word.replace(/^\.\//, ''))
		.find((word) => /^(scripts|e2e)\/[\w/.-]+\.(sh|mjs)$/.test(word));
	if (script) {
		if (!all.has(script)) {
			return [`the command runs ${script}, which is not a tracked file`];
		}
		const text = files.get(script) ?? '';
		return rest
			.map((word) => /^--[a-z][\w-]*/.exec(word)?.[0])
			.filter((flag) => flag && flag !== '--help' && !text.includes(flag))
			.map((flag) => `${script} does not know ${flag}`);
	}
	const name = basename(called);
	if (!Object.hasOwn(PROGRAMS, name)) {
		return [];
	}
	const program = programs(name);
	const faults = [];
	let looking = program.subcommands.size > 0;
	for (let at = 0; at < rest.length; at += 1) {
		const word = rest[at];
		if (word === '--') {
			break;
		}
		const flag = /^--[a-z][\w-]*/.exec(word)?.[0];
		if (flag) {
			if (program.flags.has(flag)) {
				at += program.flags.get(flag) && !word.includes('=') ? 1 : 0;
			} else if (allows(`${name} ${flag}`)) {
				looking = false;
			} else {
				faults.push(`${name} does not know ${flag}`);
				looking = false;
			}
		} else if (looking && /^[a-z][a-z-]*$/.test(word)) {
			if (!program.subcommands.has(word) && word !== 'help' && !allows(`${name} ${word}`)) {
				faults.push(`${name} does not know the command ${word}`);
			}
			looking = false;
		} else if (!word.startsWith('-')) {
			looking = false;
		}
	}
	return faults;
}

function commands(path, text, report, context) {
	for (const { language, first, lines } of fences(text)) {
		if (/^(sh|bash|shell|console)$/.test(language)) {
			for (const { line, words } of shellCommands(lines, first)) {
				commandFaults(words, context).forEach((fault) => report(line, fault));
			}
		}
	}
	const prose = withoutFences(text);
	for (const { words: span, offset } of codeSpans(prose)) {
		if (/^(kaisar(-\w+)?|(\.\/)?scripts\/[\w-]+\.sh) /.test(span)) {
			for (const { words } of shellCommands([span.replace(/…|\.\.\./g, '')], 1)) {
				commandFaults(words, context).forEach((fault) => report(lineAt(prose, offset), fault));
			}
		}
	}
}

// Spelling.

/** British spellings, each with the American one. */
const SPELLINGS = [
	[/licenc/i, 'license'],
	[/behaviour/i, 'behavior'],
	[/colour/i, 'color'],
	[/favour/i, 'favor'],
	[/honour/i, 'honor'],
	[/neighbour/i, 'neighbor'],
	[/labour/i, 'labor'],
	[/defence/i, 'defense'],
	[/centre/i, 'center'],
	[/(?<![a-z])metres?(?![a-z])/i, 'meter'],
	[/fibre/i, 'fiber'],
	[/catalogue/i, 'catalog'],
	[/(?<![A-Za-z])cancell(ed|ing)(?![A-Za-z])/, 'canceled, canceling'],
	[/label(led|ling)/i, 'labeled, labeling'],
	[/signall(ed|ing)/i, 'signaled, signaling'],
	[/modell(ed|ing)/i, 'modeled, modeling'],
	[/travell(ed|ing)/i, 'traveled, traveling'],
	[/judgement/i, 'judgment'],
	[/fulfil(?!l)/i, 'fulfill'],
	[/artefact/i, 'artifact'],
	[/analys(e|ed|er|ing)(?![a-z])/i, 'analyze'],
	[/organis/i, 'organize'],
	[/recognis/i, 'recognize'],
	[/initialis/i, 'initialize'],
	[/(?<!de)serialis|deserialis/i, 'serialize'],
	[/optimis(e|ed|es|er|ing|ation|ations)(?![a-z])/i, 'optimize'],
	[/authoris(e|ed|es|ing|ation)(?![a-z])/i, 'authorize'],
	[
		/(custom|final|general|maxim|minim|normal|penal|priorit|random|real|summar|synchron|util)is(e[ds]?|ing|ation)(?![a-z])/i,
		'its spelling with z',
	],
];

function spelling(path, text, report, { allows }) {
	const british = new RegExp(SPELLINGS.map(([pattern]) => `(?:${pattern.source})`).join('|'), 'i');
	text.split('\n').forEach((line, index) => {
		if (!british.test(line)) {
			return;
		}
		for (const [word] of line.matchAll(/[\p{L}\p{N}_]+/gu)) {
			const found = SPELLINGS.find(([pattern]) => pattern.test(word));
			// "3 metres" is a length.
			const unit = found?.[1] === 'meter' && /\d[\d,.]*\s+metres?/.test(line);
			const call = found?.[1].startsWith('cancel') && line.includes(`${word}(`);
			if (found && !unit && !call && !allows(word)) {
				report(index + 1, `"${word}" is British: write ${found[1]}`);
			}
		}
	});
}

// The whole check.

/** Reads the names that are allowed, each with its reason. */
export function readAllowed(text, report) {
	const allowed = new Map();
	text.split('\n').forEach((line, index) => {
		if (line.trim() === '' || line.startsWith('# ')) {
			return;
		}
		const entry = /^(\S.*?):\s+(\S.*)$/.exec(line);
		if (!entry) {
			report(ALLOWED, index + 1, 'expected NAME: REASON');
		} else {
			allowed.set(entry[1], { line: index + 1, used: false });
		}
	});
	return allowed;
}

/** Checks files, a map from paths to texts. Returns the faults, in the order of paths and lines. */
export function check(files) {
	const faults = [];
	const report = (path, line, text) => faults.push({ path, line, text });
	const allowed = readAllowed(files.get(ALLOWED) ?? '', report);
	const memo = (make) => {
		const made = new Map();
		return (key) => made.get(key) ?? made.set(key, make(key)).get(key);
	};
	const context = {
		files,
		all: places(files),
		...vocabulary(files),
		headingsOf: memo((path) => headings(files.get(path))),
		programs: memo((name) => {
			const sources = [...files].filter(([path]) => path.startsWith(PROGRAMS[name]) && path.endsWith('.rs'));
			return commandLine(sources.map(([, text]) => text));
		}),
		allows: (name) => {
			const entry = allowed.get(name);
			if (entry) {
				entry.used = true;
			}
			return entry !== undefined;
		},
	};
	for (const [path, text] of files) {
		const kind = kindOf(path);
		const here = (line, words) => report(path, line, words);
		if (SHOWN.test(path)) {
			spelling(path, text, here, context);
		}
		if (!kind) {
			continue;
		}
		if (kind !== 'md') {
			openings(path, text, here);
		}
		widths(path, text, here);
		if (!OWN.test(path)) {
			links(path, text, here, context);
			spelling(path, text, here, context);
		}
		if (isDocumentation(path)) {
			names(path, text, here, context);
			commands(path, text, here, context);
		}
	}
	for (const [name, { line, used }] of allowed) {
		if (!used) {
			report(ALLOWED, line, `nothing needs the entry ${name}: remove it`);
		}
	}
	return faults.sort((a, b) => (a.path === b.path ? a.line - b.line : a.path < b.path ? -1 : 1));
}

/** Reads all tracked files of the repository in `root` that are text. */
export function trackedFiles(root) {
	const list = execFileSync('git', ['-C', root, 'ls-files', '-z'], { encoding: 'utf8', maxBuffer: 1 << 26 });
	const files = new Map();
	for (const path of list.split('\0').filter(Boolean)) {
		try {
			const bytes = readFileSync(join(root, path));
			files.set(path, bytes.includes(0) ? '' : bytes.toString('utf8'));
		} catch (error) {
			// A file that was removed and not yet committed, or a submodule's folder.
			if (!['ENOENT', 'EISDIR'].includes(error.code)) {
				throw error;
			}
		}
	}
	return files;
}

function main(args) {
	if (args.includes('-h') || args.includes('--help')) {
		console.log(HELP);
		return 0;
	}
	const unknown = args.find((argument) => argument.startsWith('-'));
	if (unknown) {
		console.error(`error: unknown argument: ${unknown}\nnext: node scripts/prose.mjs --help`);
		return 2;
	}
	const root = execFileSync('git', ['rev-parse', '--show-toplevel'], { encoding: 'utf8' }).trim();
	const prefix = execFileSync('git', ['rev-parse', '--show-prefix'], { encoding: 'utf8' }).trim();
	const wanted = args.map((path) => normalize(join(prefix, path)).replace(/\/$/, ''));
	const files = trackedFiles(root);
	const absent = wanted.find((path) => path !== '.' && !places(files).has(path));
	if (absent) {
		console.error(`error: ${absent} is not a tracked file or folder\nnext: git add it, or name another`);
		return 2;
	}
	const within = ({ path }) =>
		!wanted.length || wanted.some((it) => it === '.' || path === it || path.startsWith(`${it}/`));
	const faults = check(files).filter(within);
	for (const { path, line, text } of faults) {
		console.log(`${path}:${line}: ${text}`);
	}
	if (faults.length) {
		console.error(`error: faults in the prose: ${faults.length}\nnext: mend each line above; see --help for the rules`);
	}
	return faults.length ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	process.exitCode = main(process.argv.slice(2));
}
