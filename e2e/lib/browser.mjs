// Runs Chromium without a window, driven by Playwright, or by Chromium's own driver, which speaks WebDriver.

import { spawn } from 'node:child_process';
import { accessSync, constants, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { chromium } from 'playwright-core';

import { atExit } from './at-exit.mjs';

// As root, Chromium runs only without its sandbox. The other flags prevent the use of a GPU, connections to
// anything but the pages under test, and questions to the user.
const FLAGS = [
	'--no-sandbox',
	'--disable-gpu',
	'--disable-quic',
	'--no-first-run',
	'--disable-background-networking',
	'--disable-component-update',
	'--disable-sync',
];

/** Returns the path of a program: the one in the environment variable, or the first installed one of the
 * names. */
function program(variable, ...names) {
	const chosen = process.env[variable];
	if (chosen) {
		return chosen;
	}
	for (const name of names) {
		for (const folder of (process.env.PATH ?? '').split(delimiter)) {
			const path = join(folder, name);
			try {
				accessSync(path, constants.X_OK);
				return path;
			} catch {
				// The next folder may have it.
			}
		}
	}
	throw new Error(`${names[0]} is not installed: run scripts/setup.sh, or set ${variable}`);
}

const browserPath = () => program('KAISAR_CHROMIUM', 'chromium', 'chromium-browser', 'google-chrome');

/**
 * Starts Chromium with a profile of its own. Returns Playwright's `Browser`, to be closed after the test:
 *
 *     const browser = await openBrowser();
 *     t.after(() => browser.close());
 *     const page = await browser.newPage();
 *     await page.goto(url);
 *     await page.getByRole('button', { name: 'Order' }).click();
 *
 * Its actions wait for their elements. Errors of the page do not fail the test: see `page.on('pageerror')`.
 */
export function openBrowser({ args = [], ...options } = {}) {
	return chromium.launch({ args: [...FLAGS, ...args], executablePath: browserPath(), headless: true, ...options });
}

/** Chromium's own driver, which speaks WebDriver. Each session is a browser with its own profile. */
export class Driver {
	/** Starts the driver on a port that it picks. */
	static async start() {
		const driver = new Driver();
		driver.dir = await mkdtemp(join(tmpdir(), 'kaisar-chromedriver-'));
		driver.process = spawn(program('KAISAR_CHROMEDRIVER', 'chromedriver'), ['--port=0'], {
			// A process group of its own, so that no browser outlives it.
			detached: true,
			env: { ...process.env, TMPDIR: driver.dir },
			stdio: ['ignore', 'pipe', 'pipe'],
		});
		driver.forget = atExit(() => {
			driver.#kill();
			rmSync(driver.dir, { force: true, maxRetries: 5, recursive: true });
		});
		driver.output = '';
		driver.exited = new Promise((resolve) => driver.process.once('close', resolve));
		try {
			driver.url = await new Promise((resolve, reject) => {
				driver.process.once('error', reject);
				for (const stream of [driver.process.stdout, driver.process.stderr]) {
					stream.setEncoding('utf8');
					stream.on('data', (text) => {
						driver.output += text;
						const match = /started successfully on port (\d+)/.exec(driver.output);
						if (match) {
							resolve(`http://127.0.0.1:${match[1]}`);
						}
					});
				}
				driver.exited.then(() => reject(new Error(`chromedriver ended: ${driver.output}`)));
			});
		} catch (error) {
			await driver.stop();
			throw error;
		}
		return driver;
	}

	/** Sends a command and returns its value. A command that fails rejects with the driver's message. */
	async command(method, path, body) {
		const response = await fetch(`${this.url}${path}`, {
			body: body && JSON.stringify(body),
			method,
			signal: AbortSignal.timeout(60_000),
		});
		const { value } = await response.json();
		if (!response.ok) {
			throw new Error(`${method} ${path}: ${value.error}: ${value.message}`);
		}
		return value;
	}

	/** Opens a browser. Returns the path of its session, which commands begin with. */
	async session() {
		const options = { args: ['--headless=new', ...FLAGS], binary: browserPath() };
		const capabilities = { alwaysMatch: { browserName: 'chrome', 'goog:chromeOptions': options } };
		const { sessionId } = await this.command('POST', '/session', { capabilities });
		return `/session/${sessionId}`;
	}

	/** Ends the driver and all browsers that it opened. */
	async stop() {
		this.#kill();
		// If it did not start, nothing would close.
		if (this.process.pid !== undefined) {
			await this.exited;
		}
		await rm(this.dir, { force: true, maxRetries: 5, recursive: true });
		this.forget();
	}

	#kill() {
		if (this.process.pid !== undefined) {
			try {
				process.kill(-this.process.pid, 'SIGKILL');
			} catch (error) {
				if (error.code !== 'ESRCH') {
					throw error;
				}
			}
		}
	}
}
