// The formulas of docs/spec/05-rewards.md ("Worker scores", "Worker rewards", "Checker rewards"),
// docs/spec/09-tables.md and docs/spec/01-token.md, in exact integers and written independently of `math/`:
// what the chain pays is compared with these to the unit.

/** Units in 1 KAI. */
export const KAI = 10n ** 18n;
/** Scale of a boost. */
export const BOOST_ONE = 10n ** 9n;

const min = (a, b) => (a < b ? a : b);

/** The three periods of emission: last block, and units a block. */
const EMISSION = [
	[10_512_000n, 15n * KAI],
	[21_024_000n, 13n * KAI],
	[31_536_000n, 11n * KAI],
];

/** Returns the emission of the blocks `1 … block`. The genesis block emits nothing. */
export function emissionUpTo(block) {
	let total = 0n;
	let from = 0n;
	for (const [last, perBlock] of EMISSION) {
		const to = min(BigInt(block), last);
		if (to > from) {
			total += (to - from) * perBlock;
		}
		from = last;
	}
	return total;
}

/** Returns the emission of the blocks after `from`, up to and including `to`. */
export const emissionBetween = (from, to) => emissionUpTo(to) - emissionUpTo(from);

/** Returns a part of an amount, rounded down. `parts` and `of` are integers, for example 50 and 100. */
export const part = (amount, parts, of = 100n) => (amount * BigInt(parts)) / BigInt(of);

/** Scores of the tiers, in hundredths: 0.2 is 20. */
export const TIER_SCORES = [0n, 20n, 40n, 60n, 80n];

/** Scores of the GPU classes by id at genesis, in hundredths: the published ones, or less if a cheaper GPU
 * passes for the class. Index 0 stands for no GPU. */
export const CLASS_SCORES = [
	0, 1000, 1000, 500, 500, 100, 100, 50, 25, 100, 50, 75, 25, 25, 25, 25, 50, 25, 25,
	25, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25, 50, 1000,
].map(BigInt);

/** Returns the hardware score of a verified profile, in hundredths: `2·A + B + 3·C + D + E`. */
export function hardware(profile) {
	const tier = (index) => TIER_SCORES[Number(index)];
	const gpu = CLASS_SCORES[Number(profile.gpuClass)] * BigInt(profile.gpuCount);
	return (
		2n * tier(profile.bandwidth) +
		tier(profile.cpu) +
		3n * gpu +
		tier(profile.disk) +
		tier(profile.memory)
	);
}

/** Returns the boost, `1 + min(stake, max) / max`, scaled by 10⁹ and rounded down. */
export function boost(stake, maxStake) {
	return BOOST_ONE + (min(BigInt(stake), BigInt(maxStake)) * BOOST_ONE) / BigInt(maxStake);
}

/** Minimum number of cores of each CPU tier. */
export const TIER_CORES = [0n, 4n, 32n, 64n, 129n];

/** Returns the part of its score that a machine keeps, as a fraction: all of it with GPUs; without them
 * 10 %, in proportion to the minimum cores of its tier. */
export function weight(profile) {
	const gpu = CLASS_SCORES[Number(profile.gpuClass)] * BigInt(profile.gpuCount);
	return gpu > 0n ? [1n, 1n] : [TIER_CORES[Number(profile.cpu)], 10n * TIER_CORES[4]];
}

/** Returns the score units that `blocks` of time earn, rounded down. */
export function score(blocks, stake, maxStake, profile) {
	const [part, whole] = weight(profile);
	return (BigInt(blocks) * boost(stake, maxStake) * hardware(profile) * part) / whole;
}

/** Returns the lesser of two profiles, field by field. GPUs of different classes have none in common. */
export function lesser(a, b) {
	const least = Object.fromEntries(
		['bandwidth', 'cpu', 'disk', 'memory', 'gpuCount'].map((name) => [name, Math.min(a[name], b[name])]),
	);
	const gpus = a.gpuClass === b.gpuClass && a.gpuClass !== 0 && least.gpuCount > 0;
	return { ...least, gpuClass: gpus ? a.gpuClass : 0, gpuCount: gpus ? least.gpuCount : 0 };
}

/** Returns the number of blocks that a census stands for: the mean interval between censuses. */
export function censusCredit(round, { checkPeriod, phaseLength }) {
	const length = round.trial - round.start + 3 * round.phaseLength;
	return phaseLength * (checkPeriod - 1) + Math.ceil(length / phaseLength) * phaseLength;
}

/** Scale of a checker's score. */
export const CHECKER_ONE = 10n ** 9n;

/** Returns a checker's score: `correct · (1 − errors)` with `errors = 1 − correct / seats`. */
export const checkerScore = (correct, seats) =>
	BigInt(seats) === 0n ? 0n : (BigInt(correct) ** 2n * CHECKER_ONE) / BigInt(seats);

/** Returns a share of a pot: `score · pot / total`, rounded down. */
export const share = (own, pot, total) =>
	BigInt(total) === 0n ? 0n : (BigInt(own) * BigInt(pot)) / BigInt(total);

/** Returns the pots by the automatic ratio: those that PoC and PoD scores share, each rounded down, and the
 * rest, which nobody gets. */
export function pots(total, poc, pod) {
	const scores = BigInt(poc) + BigInt(pod);
	const [pocPot, podPot] = [share(poc, total, scores), share(pod, total, scores)];
	return { carried: BigInt(total) - pocPot - podPot, poc: pocPot, pod: podPot };
}

/** Returns the amount that leaves the checkers' reserve with the blocks `1 … block`. */
export const releasedUpTo = (reserve, block) =>
	(BigInt(reserve) * emissionUpTo(block)) / emissionUpTo(31_536_000);

/** Returns the members' part of a pool's reward, rounded down. `commission` is in billionths. Without an
 * owner's stake, as in an operator's pool, all of this part is theirs. */
export function membersPart(reward, commission, { owner = 0n, eligible }) {
	const all = BigInt(owner) + BigInt(eligible);
	return (BigInt(reward) * BigInt(commission) * BigInt(eligible)) / (all * 1_000_000_000n);
}

/** Returns the claim of a member with `shares` of the `eligible` ones on the members' parts of several
 * epochs. The earnings of a share have 128 binary places. */
export function member(parts, shares, eligible = shares) {
	const rate = parts.reduce((sum, one) => sum + (BigInt(one) << 128n) / BigInt(eligible), 0n);
	return (rate * BigInt(shares)) >> 128n;
}

/** Returns the owner's minimum stake: `base + perScore · class score · count`. */
export function minimumStake(spec, base = 500n * KAI, perScore = 200n * KAI) {
	const scores = CLASS_SCORES[Number(spec.gpuClass)] * BigInt(spec.gpuCount);
	return base + (perScore * scores) / 100n;
}

/** Formats an amount for people: `12.5 KAI`. */
export function kai(amount, digits = 6) {
	const value = BigInt(amount);
	const sign = value < 0n ? '-' : '';
	const absolute = value < 0n ? -value : value;
	const whole = (absolute / KAI).toString().replace(/\B(?=(\d{3})+$)/g, ',');
	const rest = (absolute % KAI).toString().padStart(18, '0').slice(0, digits).replace(/0+$/, '');
	return `${sign}${whole}${rest ? `.${rest}` : ''} KAI`;
}

/** Number of blocks in an hour. */
export const HOUR = 300n;

const ceil = (numerator, denominator) => (numerator + denominator - 1n) / denominator;

/** Returns the price of a unit and hour: `⌈reference · (0.75 + 0.20 · (rented / all)²) · plan⌉`, with the
 * plan in percent. */
export function unitPrice(reference, { idle, rented }, plan = 100n) {
	const all = BigInt(idle) + BigInt(rented) || 1n;
	const part = 75n * all ** 2n + 20n * BigInt(rented) ** 2n;
	return ceil(BigInt(reference) * part * plan, 10_000n * all ** 2n);
}

/** Returns the cost of the first `blocks` of use, of time bought in segments of `[hours, unit price]`. It is
 * rounded down once. */
export function used(segments, units, blocks) {
	let left = BigInt(blocks);
	let sum = 0n;
	for (const [hours, price] of segments) {
		const taken = min(left, BigInt(hours) * HOUR);
		sum += taken * BigInt(price);
		left -= taken;
	}
	return (sum * BigInt(units)) / HOUR;
}
