// Ends the servers of a test even if a signal ends its process: Ctrl-C, or the runner's timeout.

import { constants } from 'node:os';

const ends = new Set();

process.on('exit', () => {
	for (const end of ends) {
		end();
	}
});

for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
	process.once(signal, () => {
		// Another part of the library may be cleaning up because of the same signal; it exits when it is
		// done.
		const patience = process.listenerCount(signal) > 0 ? 10_000 : 0;
		setTimeout(() => process.exit(128 + constants.signals[signal]), patience);
	});
}

/** Calls `end` when the process exits; `end` must not wait for promises. Returns a function that cancels
 * this. */
export function atExit(end) {
	ends.add(end);
	return () => ends.delete(end);
}
