//! Prints the tables of `docs/rewards.md`: the payments of an epoch to typical machines, delegators and
//! licenses. With `--write` it puts them into the document. A test compares the two.
//!
//! Everything is computed with the chain's formulas; the assumptions about the network are in [`MACHINES`]
//! and in the words of the tables.

use kaisar_math::{
	DAY, Hardware, KAI, Ratio, RedeemTerm, Schedule, ScoreTable, Split,
	classes::CLASSES,
	emission::CHECKERS_RESERVE,
	members::{self, Members},
	price::{self, HOUR, Utilization},
	reward::{self, Division, Work, WorkerReward},
	score, stake, tiers,
};
use sp_arithmetic::{FixedU128, Perbill};
use std::fmt::Write;

/// Blocks of an epoch.
const EPOCH: u32 = 14 * DAY;
/// Numbers of workers in the network.
const SIZES: [u128; 3] = [100, 10_000, 1_000_000];
/// The stake at which the boost reaches 2.
const MAX_STAKE: u128 = 50_000 * KAI;
/// The weight of a machine without GPUs, at 129 cores.
const CPU_ONLY: Perbill = Perbill::from_percent(10);
/// The protocol's part of a rent.
const PROTOCOL_FEE: Perbill = Perbill::from_percent(10);
/// The rate of the plan of 90 days.
const QUARTER: Perbill = Perbill::from_percent(80);
/// The maximum number of licenses.
const LICENSES: u128 = 29_998;
/// The marks around the tables in the document.
const MARKS: [&str; 2] = ["<!-- reward_table -->\n", "<!-- /reward_table -->\n"];
/// The marks around the table of attacks.
const ATTACK_MARKS: [&str; 2] = ["<!-- attack_table -->\n", "<!-- /attack_table -->\n"];
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rewards.md");

/// A type of machine, and its share of all workers, in per cent.
struct Machine {
	name: &'static str,
	of_hundred: u128,
	/// Tiers of bandwidth, CPU, memory and disk.
	tiers: [u8; 4],
	class: u16,
	gpus: u8,
}

/// The assumed network.
const MACHINES: [Machine; 3] = [
	Machine {
		name: "one RTX 4090 at home",
		of_hundred: 70,
		tiers: [2, 1, 1, 1],
		class: 11,
		gpus: 1,
	},
	Machine {
		name: "8×H100 in a data center",
		of_hundred: 10,
		tiers: [4, 4, 4, 4],
		class: 1,
		gpus: 8,
	},
	Machine {
		name: "a server without a GPU",
		of_hundred: 20,
		tiers: [3, 2, 2, 2],
		class: 0,
		gpus: 0,
	},
];

impl Machine {
	fn hardware(&self) -> Hardware {
		let [bandwidth, cpu, memory, disk] = self.tiers;
		let class = CLASSES.iter().find(|class| class.id == self.class);
		Hardware {
			bandwidth,
			cpu,
			memory,
			disk,
			class_score: class.map_or(0, |class| class.score),
			gpu_count: self.gpus,
		}
	}

	/// Returns the minimum stake of its owner.
	fn stake(&self) -> u128 {
		let Hardware {
			class_score,
			gpu_count,
			..
		} = self.hardware();
		stake::minimum(500 * KAI, 200 * KAI, class_score, gpu_count).expect("it is in range")
	}

	/// Returns its PoC score of `blocks`.
	fn poc(&self, stake: u128, blocks: u32) -> u128 {
		ScoreTable::default()
			.poc(
				blocks,
				score::boost(stake, MAX_STAKE),
				&self.hardware(),
				CPU_ONLY,
			)
			.expect("in range")
	}

	/// Returns the rent of `blocks`, at the prices of a development chain: a GPU and hour costs as many KAI
	/// as it scores.
	fn rent(&self, blocks: u32, utilization: Utilization, plan: Perbill) -> u128 {
		let reference = u128::from(self.hardware().class_score) * KAI / 100;
		let unit = price::unit_price(reference, utilization, plan).expect("in range");
		unit * u128::from(self.gpus) * u128::from(blocks) / u128::from(HOUR)
	}

	/// Returns its work in an epoch online, `rented` per cent of which it was rented on demand, as all
	/// machines with GPUs.
	fn work(&self, stake: u128, rented: u32) -> Work {
		let utilization = Utilization {
			idle: 100 - rented,
			rented,
		};
		let rented = if self.gpus == 0 { 0 } else { rented };
		let blocks = EPOCH / 100 * rented;
		Work {
			idle: self.poc(stake, EPOCH - blocks),
			rented: self.poc(stake, blocks),
			pod: 3 * self.poc(stake, blocks),
			fees: reward::fee(self.rent(blocks, utilization, Perbill::one()), PROTOCOL_FEE).0,
		}
	}

	/// Returns its work in an epoch in which its owner rents it all the time, on a plan of 90 days.
	fn self_rented(&self) -> Work {
		let poc = self.poc(self.stake(), EPOCH);
		Work {
			idle: 0,
			rented: poc,
			pod: 3 * poc,
			fees: reward::fee(
				self.rent(EPOCH, Utilization::default(), QUARTER),
				PROTOCOL_FEE,
			)
			.0,
		}
	}
}

/// Returns the work of a network in which each machine with GPUs is rented for `rented` per cent of the
/// time.
fn network(workers: u128, rented: u32) -> Work {
	MACHINES.iter().fold(Work::default(), |sum, machine| {
		let count = machine.of_hundred * workers / 100;
		add(sum, machine.work(machine.stake(), rented), count)
	})
}

fn add(sum: Work, one: Work, count: u128) -> Work {
	Work {
		idle: sum.idle + one.idle * count,
		rented: sum.rented + one.rented * count,
		pod: sum.pod + one.pod * count,
		fees: sum.fees + one.fees * count,
	}
}

/// Returns the workers' part of an epoch of the first period.
fn pot() -> u128 {
	Split::default()
		.of(Schedule::KAISAR.emitted(0, EPOCH))
		.providers
}

/// Returns the division of an epoch of the first period.
fn epoch(work: Work) -> Division {
	let cap = FixedU128::from_rational(1, 2);
	Division::new(pot(), Ratio::Automatic, cap, work).expect("in range")
}

/// Returns the epoch's payment to each of [`MACHINES`].
fn rewards(workers: u128, rented: u32) -> [WorkerReward; 3] {
	let epoch = epoch(network(workers, rented));
	MACHINES.map(|machine| {
		epoch
			.pay(&machine.work(machine.stake(), rented))
			.expect("a share")
	})
}

/// Returns the payment to a machine with this work beside a network that nobody rents, by the rule and by
/// the published formula alone.
fn beside(workers: u128, own: Work) -> (u128, u128) {
	let work = add(network(workers, 0), own, 1);
	let paid = epoch(work).pay(&own).expect("a share");
	let score = |work: Work| work.idle + work.rented + work.pod;
	let published = reward::share(score(own), pot(), score(work)).expect("a share");
	(paid.idle + paid.rent, published)
}

/// Formats a number with separated thousands.
fn grouped(number: u128) -> String {
	let digits = number.to_string();
	let mut text = String::new();
	for (n, digit) in digits.chars().enumerate() {
		if n > 0 && (digits.len() - n).is_multiple_of(3) {
			text.push(',');
		}
		text.push(digit);
	}
	text
}

/// Formats an amount in KAI, rounded down: no decimals from a hundred on, two from one on, four below.
fn kai(amount: u128) -> String {
	let whole = amount / KAI;
	let places = match whole {
		0 => 4,
		1..100 => 2,
		_ => 0,
	};
	let mut text = grouped(whole);
	if places > 0 {
		let part = amount % KAI / 10u128.pow(18 - places);
		write!(text, ".{part:0width$}", width = places as usize).expect("a string takes all");
	}
	text
}

/// Formats `amount` an epoch over a year of 365 days, in per cent of `of`.
fn yearly(amount: u128, of: u128) -> String {
	let tenths = amount * 365 / 14 * 1_000 / of;
	format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Returns all tables, in Markdown.
pub fn tables() -> String {
	let mut text = String::new();
	let out = &mut text;
	let line = |out: &mut String, cells: Vec<String>| {
		writeln!(out, "| {} |", cells.join(" | ")).expect("a string takes all");
	};
	let sizes = |of: &str| SIZES.map(|size| format!("{of}{}", grouped(size)));

	writeln!(
		out,
		"**Nobody rents.** KAI an epoch, to owner and delegators together.\n"
	)
	.unwrap();
	let mut head = vec!["machine".into(), "score".into(), "stake".into()];
	head.extend(sizes("workers: "));
	line(out, head);
	line(out, vec!["---".into(); 6]);
	for (n, machine) in MACHINES.iter().enumerate() {
		let score = ScoreTable::default().hardware(&machine.hardware());
		let mut cells = vec![
			machine.name.into(),
			weighed(machine, score),
			kai(machine.stake()),
		];
		cells.extend(SIZES.map(|size| kai(rewards(size, 0)[n].idle)));
		line(out, cells);
	}

	writeln!(
		out,
		"\nThe same for a year, in percent of the owner's stake.\n"
	)
	.unwrap();
	let mut head = vec!["machine".into()];
	head.extend(sizes("workers: "));
	line(out, head);
	line(out, vec!["---".into(); 4]);
	for (n, machine) in MACHINES.iter().enumerate() {
		let mut cells = vec![machine.name.into()];
		cells.extend(SIZES.map(|size| yearly(rewards(size, 0)[n].idle, machine.stake())));
		line(out, cells);
	}

	let epochs = (10 * KAI).div_ceil(rewards(SIZES[2], 0)[0].idle);
	writeln!(
		out,
		"\nAmong {} workers it takes the RTX 4090 {epochs} epochs to earn the 10 KAI that its registration \
		 costs.",
		grouped(SIZES[2])
	)
	.unwrap();

	writeln!(
		out,
		"\n**Every machine with a GPU is rented for a fifth of the time**, on demand, at the prices of a development\n\
		 chain: a GPU and hour costs as many KAI as its class scores. KAI an epoch, for idle + for rented time. The\n\
		 second is at most half of the protocol fees, which are a tenth of the rent; nine tenths are the provider's.\n"
	)
	.unwrap();
	let mut head = vec!["machine".into(), "rent".into()];
	head.extend(sizes("workers: "));
	line(out, head);
	line(out, vec!["---".into(); 5]);
	for (n, machine) in MACHINES.iter().enumerate() {
		let fifth = Utilization {
			idle: 80,
			rented: 20,
		};
		let mut cells = vec![
			machine.name.into(),
			match machine.gpus {
				0 => "–".into(),
				_ => kai(machine.rent(EPOCH / 5, fifth, Perbill::one())),
			},
		];
		cells.extend(SIZES.map(|size| {
			let WorkerReward { idle, rent, .. } = rewards(size, 20)[n];
			match rent {
				0 => kai(idle),
				_ => format!("{} + {}", kai(idle), kai(rent)),
			}
		}));
		line(out, cells);
	}

	writeln!(
		out,
		"\n**1,000 KAI delegated to one of the machines**, whose owner has the least stake and a\n\
		 commission of 50 %: half of the reward is shared by stake. Nobody rents. KAI an epoch, to the delegator.\n"
	)
	.unwrap();
	let mut head = vec!["machine".into()];
	head.extend(sizes("workers: "));
	line(out, head);
	line(out, vec!["---".into(); 4]);
	for (n, machine) in MACHINES.iter().enumerate() {
		let mut cells = vec![machine.name.into()];
		cells.extend(SIZES.map(|size| {
			// One machine's boost does not change the total noticeably.
			let alone = machine.poc(machine.stake(), EPOCH);
			let boosted = machine.poc(machine.stake() + 1_000 * KAI, EPOCH);
			let reward = rewards(size, 0)[n].idle / 1_000_000 * (boosted * 1_000_000 / alone);
			let pool = Members {
				owner: machine.stake(),
				value: 1_000 * KAI,
				shares: 1_000 * KAI,
				eligible: 1_000 * KAI,
			};
			kai(members::part(reward, Perbill::from_percent(50), &pool))
		}));
		line(out, cells);
	}

	let pot = Split::default()
		.of(Schedule::KAISAR.emitted(0, EPOCH))
		.checkers;
	let released = Schedule::KAISAR
		.released(CHECKERS_RESERVE, 0, EPOCH)
		.expect("a part");
	writeln!(
		out,
		"\n**A license**, if all do their work alike: {} KAI of the emission and {} KAI of the reserve\n\
		 an epoch, paid in vKAI to operator and holder together, whatever the number of workers.\n",
		kai(pot),
		kai(released)
	)
	.unwrap();
	line(
		out,
		[
			"active licenses",
			"vKAI an epoch",
			"KAI after 180 days",
			"after 90",
			"after 30",
		]
		.map(String::from)
		.into(),
	);
	line(out, vec!["---".into(); 5]);
	for active in [300, 3_000, LICENSES] {
		let each = (pot + released) / active;
		let pays = |term: RedeemTerm| kai(term.pays(each));
		line(
			out,
			vec![
				grouped(active),
				kai(each),
				pays(RedeemTerm::Days180),
				pays(RedeemTerm::Days90),
				pays(RedeemTerm::Days30),
			],
		);
	}

	writeln!(
		out,
		"\n**Later**, with the same network, all of it in proportion to the emission.\n"
	)
	.unwrap();
	line(
		out,
		["blocks", "KAI a block", "of the tables above"]
			.map(String::from)
			.into(),
	);
	line(out, vec!["---".into(); 3]);
	for (from, to) in [
		(1, 10_512_000),
		(10_512_001, 21_024_000),
		(21_024_001, 31_536_000),
	] {
		let each = Schedule::KAISAR.per_block(from) / KAI;
		let number = |block: u32| grouped(block.into());
		line(
			out,
			vec![
				format!("{} … {}", number(from), number(to)),
				each.to_string(),
				format!("{each}/15"),
			],
		);
	}
	line(
		out,
		vec!["after".into(), "0".into(), "fees of rentals alone".into()],
	);
	text
}

/// Formats a weighted score, with two decimals from one on and four below.
fn weighed(machine: &Machine, hundredths: u64) -> String {
	let (part, whole) = machine.hardware().weight(CPU_ONLY);
	let score = u128::from(hundredths) * 100 * part / whole;
	if score >= 10_000 {
		format!("{}.{:02}", score / 10_000, score % 10_000 / 100)
	} else {
		format!("0.{score:04}")
	}
}

/// Returns the table of attacks and their earnings, in Markdown.
pub fn attacks() -> String {
	let mut text = String::new();
	let out = &mut text;
	let line = |out: &mut String, cells: Vec<String>| {
		writeln!(out, "| {} |", cells.join(" | ")).expect("a string takes all");
	};
	let say = |out: &mut String, text: &str| writeln!(out, "{text}").expect("a string takes all");

	say(
		out,
		"**A machine that does not exist, rented by its owner** for a whole epoch on a plan of 90 days, at the prices\n\
		 of a development chain, beside a network that nobody rents. KAI an epoch. *Published* is what the formula\n\
		 would pay without the cap.\n",
	);
	line(
		out,
		["machine", "workers", "published", "fee", "earns", "net"]
			.map(String::from)
			.into(),
	);
	line(out, vec!["---".into(); 6]);
	for machine in [&MACHINES[1], &MACHINES[0]] {
		for workers in [100, 1_000, 10_000, 100_000, 1_000_000] {
			let own = machine.self_rented();
			let (paid, published) = beside(workers, own);
			line(
				out,
				vec![
					machine.name.into(),
					grouped(workers),
					kai(published),
					kai(own.fees),
					kai(paid),
					format!("−{}", kai(own.fees - paid)),
				],
			);
		}
	}

	say(
		out,
		"\n**255 of them at once.** KAI an epoch that the honest network, idle, loses to them.\n",
	);
	line(
		out,
		["machines", "workers", "published", "lost", "fees paid"]
			.map(String::from)
			.into(),
	);
	line(out, vec!["---".into(); 5]);
	for workers in [1_000, 100_000] {
		let (machine, honest) = (&MACHINES[1], network(workers, 0));
		let own = add(Work::default(), machine.self_rented(), 255);
		let (_, published) = beside(workers, own);
		let left = epoch(add(honest, own, 1)).idle;
		line(
			out,
			vec![
				format!("255 times {}", machine.name),
				grouped(workers),
				kai(published),
				kai(pot() - left),
				kai(own.fees),
			],
		);
	}

	say(
		out,
		"\n**A server in parts.** The score of all parts together, as a share of the score in one piece, if each\n\
		 part has the whole line. Every part needs a stake of 500 KAI.\n",
	);
	line(
		out,
		[
			"cores",
			"memory GB",
			"disk GB",
			"line Mb/s",
			"parts",
			"score",
		]
		.map(String::from)
		.into(),
	);
	line(out, vec!["---".into(); 6]);
	for (cores, memory, disk, mbps, splits) in [
		(64, 256, 4_000, 1_000, &[2, 16, 64][..]),
		(64, 1_024, 16_000, 10_000, &[2, 16, 64]),
		(128, 1_024, 16_000, 10_000, &[2, 32]),
		(60, 480, 12_000, 10_000, &[15]),
		(28, 448, 11_200, 10_000, &[7]),
	] {
		for parts in splits.iter().copied() {
			let score = |parts: u32| {
				let part = Hardware {
					bandwidth: tiers::bandwidth(mbps, mbps),
					cpu: tiers::cpu(cores / parts),
					memory: tiers::memory(memory / parts),
					disk: tiers::disk(disk / parts),
					..Default::default()
				};
				let table = ScoreTable::default();
				let poc = table.poc(EPOCH, score::BOOST_ONE, &part, CPU_ONLY);
				poc.expect("in range") * u128::from(parts)
			};
			let percent = score(parts) * 100 / score(1);
			line(
				out,
				vec![
					cores.to_string(),
					grouped(memory.into()),
					grouped(disk.into()),
					grouped(mbps.into()),
					parts.to_string(),
					format!("{percent} %"),
				],
			);
		}
	}

	say(
		out,
		"\n**Renting a rival, to take its part of the emission.** KAI an epoch. *Idle* is what an idle machine with\n\
		 eight H100 earns, the most that all others gain together if it is rented on a plan of 90 days. *Costs* is\n\
		 the rent. *Rented* is what its owner then has, nine tenths of the rent and half of the fee.\n",
	);
	line(
		out,
		["workers", "idle", "costs", "rented"]
			.map(String::from)
			.into(),
	);
	line(out, vec!["---".into(); 4]);
	for workers in [100, 300, 1_000, 10_000] {
		let machine = &MACHINES[1];
		let idle = rewards(workers, 0)[1].idle;
		let rent = machine.rent(EPOCH, Utilization::default(), QUARTER);
		let (fee, rest) = reward::fee(rent, PROTOCOL_FEE);
		line(
			out,
			vec![grouped(workers), kai(idle), kai(rent), kai(rest + fee / 2)],
		);
	}
	text
}

/// Returns the document's text, and for each block of tables its range and its intended text.
pub fn document() -> (String, [(std::ops::Range<usize>, String); 2]) {
	let text = std::fs::read_to_string(PATH).expect("the document is there");
	let place = |[from, to]: [&str; 2]| {
		let [start, end] = [from, to].map(|mark| text.find(mark).expect("the place is marked"));
		start + from.len()..end
	};
	let blocks = [
		(place(ATTACK_MARKS), format!("\n{}\n", attacks())),
		(place(MARKS), format!("\n{}\n", tables())),
	];
	(text, blocks)
}

#[allow(dead_code)]
fn main() {
	if std::env::args().any(|argument| argument == "--write") {
		let (mut text, mut blocks) = document();
		// From the end, so that no range moves before it is written.
		blocks.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
		for (place, tables) in blocks {
			text.replace_range(place, &tables);
		}
		std::fs::write(PATH, text).expect("the document can be written");
	} else {
		print!("{}\n{}", tables(), attacks());
	}
}
