//! Prints the tables of `docs/rewards.md`: what an epoch pays typical machines, delegators and licenses.
//! With `--write` it puts them into the document. A test compares the two.
//!
//! Everything is worked out with the formulas that the chain works with; what is assumed of the
//! network is in [`MACHINES`] and in the tables' own words.

use kaisar_math::{
	DAY, Hardware, KAI, Ratio, RedeemTerm, Schedule, ScoreTable, Split,
	classes::CLASSES,
	emission::CHECKERS_RESERVE,
	members::{self, Members},
	reward, score, stake,
};
use sp_arithmetic::Perbill;
use std::fmt::Write;

/// Blocks of an epoch.
const EPOCH: u32 = 14 * DAY;
/// Sizes of the network.
const SIZES: [u128; 3] = [100, 10_000, 1_000_000];
/// The stake with which the boost is 2.
const MAX_STAKE: u128 = 50_000 * KAI;
/// Licenses there can be.
const LICENSES: u128 = 29_998;
/// Where the tables are in the document.
const MARKS: [&str; 2] = ["<!-- reward_table -->\n", "<!-- /reward_table -->\n"];

/// A machine, and how many of a hundred workers are like it.
struct Machine {
	name: &'static str,
	of_hundred: u128,
	/// Tiers of bandwidth, CPU, memory and disk.
	tiers: [u8; 4],
	class: u16,
	gpus: u8,
}

/// The network that is assumed.
const MACHINES: [Machine; 3] = [
	Machine {
		name: "one RTX 4090 at home",
		of_hundred: 70,
		tiers: [2, 1, 1, 1],
		class: 11,
		gpus: 1,
	},
	Machine {
		name: "8×H100 in a data centre",
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

	/// The least that its owner must stake.
	fn stake(&self) -> u128 {
		let Hardware {
			class_score,
			gpu_count,
			..
		} = self.hardware();
		stake::minimum(500 * KAI, 200 * KAI, class_score, gpu_count).expect("it is in range")
	}

	/// Scores of an epoch online, of which it was rented for so many per cent.
	fn scores(&self, stake: u128, rented: u32) -> (u128, u128) {
		let (table, hardware) = (ScoreTable::default(), self.hardware());
		let boost = score::boost(stake, MAX_STAKE);
		let rented = if self.gpus == 0 { 0 } else { rented };
		(
			table.poc(EPOCH, boost, &hardware).expect("in range"),
			table
				.pod(EPOCH / 100 * rented, boost, &hardware)
				.expect("in range"),
		)
	}
}

/// What an epoch of the first period pays each of [`MACHINES`], for capacity and for demand, whatever
/// its orders paid.
fn rewards(workers: u128, rented: u32) -> [(u128, u128); 3] {
	let scores = MACHINES.map(|machine| {
		let scores = machine.scores(machine.stake(), rented);
		(scores, machine.of_hundred * workers / 100)
	});
	let totals = scores.iter().fold((0, 0), |sum, ((poc, pod), n)| {
		(sum.0 + poc * n, sum.1 + pod * n)
	});
	let pot = Split::default()
		.of(Schedule::KAISAR.emitted(0, EPOCH))
		.providers;
	let pots = Ratio::Automatic
		.pots(pot, totals.0, totals.1)
		.expect("in range");
	scores.map(|(own, _)| {
		let reward = reward::worker(own, totals, (pots.poc, pots.pod), u128::MAX).expect("a share");
		(reward.poc, reward.pod)
	})
}

/// A number with its thousands apart.
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

/// An amount in KAI, rounded down: no places from a hundred on, two from one on, four below.
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

/// A year of 365 days of `amount` an epoch, in per cent of `of`.
fn yearly(amount: u128, of: u128) -> String {
	let tenths = amount * 365 / 14 * 1_000 / of;
	format!("{}.{} %", tenths / 10, tenths % 10)
}

/// All tables, in Markdown.
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
			format!("{}.{:02}", score / 100, score % 100),
			kai(machine.stake()),
		];
		cells.extend(SIZES.map(|size| kai(rewards(size, 0)[n].0)));
		line(out, cells);
	}

	writeln!(
		out,
		"\nThe same, a year, in per cent of the owner's stake.\n"
	)
	.unwrap();
	let mut head = vec!["machine".into()];
	head.extend(sizes("workers: "));
	line(out, head);
	line(out, vec!["---".into(); 4]);
	for (n, machine) in MACHINES.iter().enumerate() {
		let mut cells = vec![machine.name.into()];
		cells.extend(SIZES.map(|size| yearly(rewards(size, 0)[n].0, machine.stake())));
		line(out, cells);
	}

	let epochs = (10 * KAI).div_ceil(rewards(SIZES[2], 0)[0].0);
	writeln!(
		out,
		"\nAmong {} workers it takes the RTX 4090 {epochs} epochs to earn the 10 KAI that its registration \
		 costs.",
		grouped(SIZES[2])
	)
	.unwrap();

	writeln!(
		out,
		"\n**Every machine with a GPU is rented for a fifth of the time.** KAI an epoch, for capacity + for\n\
		 demand. The second figure is the most: it is paid only as far as the machine's own orders paid protocol\n\
		 fees in the epoch, a tenth of their price.\n"
	)
	.unwrap();
	let mut head = vec!["machine".into()];
	head.extend(sizes("workers: "));
	line(out, head);
	line(out, vec!["---".into(); 4]);
	for (n, machine) in MACHINES.iter().enumerate() {
		let mut cells = vec![machine.name.into()];
		cells.extend(SIZES.map(|size| {
			let (poc, pod) = rewards(size, 20)[n];
			match pod {
				0 => kai(poc),
				_ => format!("{} + {}", kai(poc), kai(pod)),
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
			// One machine's boost more or less does not move the total.
			let alone = machine.scores(machine.stake(), 0).0;
			let boosted = machine.scores(machine.stake() + 1_000 * KAI, 0).0;
			let reward = rewards(size, 0)[n].0 / 1_000_000 * (boosted * 1_000_000 / alone);
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
		"\n**Later**, with the same network, all of it by these parts.\n"
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

/// The document, and the tables in it.
pub fn document() -> (String, std::ops::Range<usize>) {
	let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rewards.md");
	let text = std::fs::read_to_string(path).expect("the document is there");
	let [from, to] = MARKS.map(|mark| text.find(mark).expect("the tables' place is marked"));
	(text, from + MARKS[0].len()..to)
}

#[allow(dead_code)]
fn main() {
	let tables = format!("\n{}\n", tables());
	if std::env::args().any(|argument| argument == "--write") {
		let (mut text, place) = document();
		text.replace_range(place, &tables);
		let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rewards.md");
		std::fs::write(path, text).expect("the document can be written");
	} else {
		print!("{tables}");
	}
}
