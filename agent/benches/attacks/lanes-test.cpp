// Compares `lanes.h` with the agent's lanes: `lanes-vectors.inc` holds the last running hashes of some,
// which `trial::lane` compares with its own. Needs no GPU: `scripts/gpu-attacks.sh test`.
#include "lanes.h"
#include <cstdio>

static const uint64_t VECTORS[] = {
#include "lanes-vectors.inc"
};

int main() {
	Hash start;
	memset(&start, 2, sizeof start);
	bool right = true;
	const uint64_t *at = VECTORS, *end = VECTORS + sizeof VECTORS / 8;
	// A lane's number, stages, cells, four words of the hash.
	for (; end - at >= 7; at += 7) {
		Lane lane(start, (uint16_t)at[0]);
		int stages = (int)at[1];
		Hash found[] = {run_plain<false, PLAIN>(lane, stages, at[2]), run_plain<false, SHORT>(lane, stages, at[2]),
			run_plain<false, WIDE>(lane, stages, at[2])};
		for (const Hash &hash : found)
			if (memcmp(&hash, at + 3, 32)) {
				right = false;
				printf("lane %llu after %d stages: the hash differs from the agent's\n", (unsigned long long)at[0], stages);
			}
		// A leg's first word depends on the last one of the previous leg.
		Hash wave = run_plain<true, PLAIN>(lane, stages, at[2]);
		if (!memcmp(&wave, at + 3, 32)) {
			right = false;
			printf("lane %llu after %d stages: a wave gives the agent's hash, and must not\n", (unsigned long long)at[0], stages);
		}
	}
	if (at == VECTORS || at != end) {
		right = false;
		printf("lanes-vectors.inc does not have seven words a lane\n");
	}
	if (right) printf("lanes: all match the agent's\n");
	return right ? 0 : 1;
}
