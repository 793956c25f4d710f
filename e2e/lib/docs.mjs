// Reads the commands that a page of the documentation shows, and runs commands as a reader does: one after
// the other in a shell, in a folder of one's own.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { fences } from '../../scripts/prose.mjs';
import { atExit } from './at-exit.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Returns the text of a file of the repository. */
export const textOf = (path) => readFileSync(`${ROOT}/${path}`, 'utf8');

/** Returns the fenced blocks of a Markdown text, each with its `heading`: the last one before it. */
export function blocksOf(text) {
	const lines = text.split('\n');
	const blocks = fences(text);
	// A comment of a shell looks like a heading.
	const isCode = (number) =>
		blocks.some(({ first, lines: code }) => number >= first - 1 && number <= first + code.length);
	const headings = lines
		.map((line, index) => ({ number: index + 1, words: /^#+ +(.*)$/.exec(line)?.[1].trim() }))
		.filter(({ number, words }) => words !== undefined && !isCode(number));
	return blocks.map((block) => ({
		...block,
		heading: headings.findLast(({ number }) => number < block.first)?.words,
	}));
}

/** Returns a line of shell code without its comment. */
function withoutComment(line) {
	let quote;
	for (let at = 0; at < line.length; at += 1) {
		const letter = line[at];
		if (letter === '\\' && quote !== "'") {
			at += 1;
		} else if (quote) {
			quote = letter === quote ? undefined : quote;
		} else if (letter === '"' || letter === "'") {
			quote = letter;
		} else if (letter === '#' && (at === 0 || /\s/.test(line[at - 1]))) {
			return line.slice(0, at);
		}
	}
	return line;
}

/**
 * Splits shell code into commands without comments: the `text` of each as one line, and the `line` that it
 * begins on. A line that ends with a backslash or an operator continues on the next one.
 */
export function commandsIn(lines, first = 1) {
	const commands = [];
	let open;
	lines.forEach((line, index) => {
		const code = withoutComment(line).trim();
		if (code === '') {
			return;
		}
		const continues = /(\\|\||&&)$/.test(code);
		open ??= { line: first + index, parts: [] };
		open.parts.push(code.replace(/\s*\\$/, ''));
		if (!continues) {
			commands.push({ line: open.line, text: open.parts.join(' ') });
			open = undefined;
		}
	});
	if (open) {
		commands.push({ line: open.line, text: open.parts.join(' ') });
	}
	return commands;
}

/** Returns the commands in the `sh` blocks of a page, in order: `page`, `heading`, `line` and `text`. */
export function commandsOf(page) {
	return blocksOf(textOf(page))
		.filter(({ language }) => language === 'sh')
		.flatMap(({ first, heading, lines }) =>
			commandsIn(lines, first).map((command) => ({ ...command, heading, page })),
		);
}

/** Matches a command that sets a variable, which later commands of the same shell see. */
const ASSIGNMENT = /^(export )?[A-Za-z_]\w*=("[^"]*"|\S*)$/;

/** A shell command that runs. */
class Running {
	constructor(script, options) {
		this.output = '';
		// The process leads a group, so that all programs of a pipeline get a signal.
		this.child = spawn('bash', ['-c', script], {
			...options,
			detached: true,
			stdio: ['ignore', 'pipe', 'pipe'],
		});
		this.waiters = new Set();
		for (const stream of [this.child.stdout, this.child.stderr]) {
			stream.setEncoding('utf8');
			stream.on('data', (text) => {
				this.output += text;
				this.waiters.forEach((look) => look());
			});
		}
		const forget = atExit(() => this.signal('SIGKILL'));
		this.ended = new Promise((resolve) => {
			const end = (how) => {
				this.over = true;
				forget();
				resolve(how);
			};
			this.child.once('error', (error) => end({ code: null, error }));
			this.child.once('close', (code, signal) => end({ code, signal }));
		});
	}

	/** Sends a signal to all programs of the command, if it runs. */
	signal(name) {
		if (this.over || this.child.pid === undefined) {
			return;
		}
		try {
			process.kill(-this.child.pid, name);
		} catch (error) {
			if (error.code !== 'ESRCH') {
				throw error;
			}
		}
	}

	/** Waits until the output matches, and returns the match. Fails if the command ends before. */
	shown(pattern, { timeout = 60_000 } = {}) {
		return new Promise((resolve, reject) => {
			const fail = (why) => reject(new Error(`${why}, and has not shown ${pattern}:\n${this.output}`));
			const timer = setTimeout(() => {
				this.waiters.delete(look);
				fail(`the command has run for ${timeout / 1000} s`);
			}, timeout);
			const look = () => {
				const match = pattern.exec(this.output);
				if (match) {
					clearTimeout(timer);
					this.waiters.delete(look);
					resolve(match);
				}
			};
			this.waiters.add(look);
			this.ended.then((how) => {
				clearTimeout(timer);
				look();
				fail(`the command ended with ${JSON.stringify(how)}`);
			});
			look();
		});
	}
}

/** A reader's shell, without a terminal to type at. Variables that a command sets remain for later ones. */
export class Shell {
	#settings = ['set -o pipefail'];

	/** The shell's folder is also its home. Variables that are `undefined` are not set. */
	constructor(home, env) {
		this.home = home;
		this.env = { ...process.env, ...env, HOME: home };
	}

	/** Starts a command. */
	start(text) {
		const script = [...this.#settings, text].join('\n');
		if (ASSIGNMENT.test(text)) {
			this.#settings.push(text);
		}
		return new Running(script, { cwd: this.home, env: this.env });
	}

	/** Runs a command. Returns its exit code and its output, that of standard error included. */
	async run(text, { timeout = 180_000 } = {}) {
		const running = this.start(text);
		const timer = setTimeout(() => running.signal('SIGKILL'), timeout);
		const { code } = await running.ended;
		clearTimeout(timer);
		return { code, output: running.output };
	}
}
