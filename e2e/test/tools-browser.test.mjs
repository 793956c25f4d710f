// Tests that Chromium opens a page of a test, driven by Playwright and by its own driver.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { Driver, openBrowser } from '../lib/browser.mjs';

const PAGE = `<!doctype html>
<html lang="en">
	<title>A page of the tests</title>
	<button>Order</button>
	<output>Nothing yet</output>
	<script>
		document.querySelector('button').onclick = async () => {
			const answer = await fetch('/order', { method: 'POST' });
			document.querySelector('output').textContent = await answer.text();
		};
	</script>
</html>`;

/** Serves the page on the loopback address, and counts orders. */
async function serve(t) {
	const served = { orders: 0 };
	const server = createServer((request, response) => {
		if (request.method === 'POST' && request.url === '/order') {
			served.orders += 1;
			response.end(`Order ${served.orders}`);
		} else {
			response.setHeader('content-type', 'text/html; charset=utf-8');
			response.end(PAGE);
		}
	});
	server.listen(0, '127.0.0.1');
	await once(server, 'listening');
	t.after(() => {
		server.closeAllConnections();
		server.close();
	});
	served.url = `http://127.0.0.1:${server.address().port}/`;
	return served;
}

/** Returns the size of a PNG picture, from its first bytes. */
function pngSize(bytes) {
	assert.equal(bytes.subarray(1, 4).toString(), 'PNG');
	return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}

test('a page is opened, clicked and photographed with Playwright', async (t) => {
	const served = await serve(t);
	const browser = await openBrowser();
	t.after(() => browser.close());
	const page = await browser.newPage({ viewport: { height: 240, width: 320 } });
	const errors = [];
	page.on('pageerror', (error) => errors.push(error));
	await page.goto(served.url);
	assert.equal(await page.title(), 'A page of the tests');
	assert.equal(await page.locator('output').textContent(), 'Nothing yet');

	await page.getByRole('button', { name: 'Order' }).click();
	await page.getByText('Order 1', { exact: true }).waitFor({ timeout: 30_000 });
	assert.equal(served.orders, 1);
	assert.deepEqual(errors, []);

	const picture = await page.screenshot();
	assert.deepEqual(pngSize(picture), [320, 240]);
	const empty = await browser.newPage({ viewport: { height: 240, width: 320 } });
	assert.notDeepEqual(picture, await empty.screenshot(), 'the page is on it');
});

test('a page is opened and clicked with the driver', async (t) => {
	const served = await serve(t);
	const driver = await Driver.start();
	t.after(() => driver.stop());
	const session = await driver.session();
	await driver.command('POST', `${session}/url`, { url: served.url });
	assert.equal(await driver.command('GET', `${session}/title`), 'A page of the tests');
	const find = async (value) => {
		const found = await driver.command('POST', `${session}/element`, { using: 'css selector', value });
		return `${session}/element/${Object.values(found)[0]}`;
	};
	await driver.command('POST', `${await find('button')}/click`, {});
	// The page shows the answer once the server has sent it.
	const output = await find('output');
	const deadline = Date.now() + 30_000;
	while ((await driver.command('GET', `${output}/text`)) !== 'Order 1') {
		assert.ok(Date.now() < deadline, 'the page does not show the answer in time');
		await new Promise((resolve) => setTimeout(resolve, 20));
	}
	assert.equal(served.orders, 1);
	const picture = await driver.command('GET', `${session}/screenshot`);
	const [width, height] = pngSize(Buffer.from(picture, 'base64'));
	assert.ok(width > 0 && height > 0);
	await driver.command('DELETE', session);
});
