//! `docs/parameters.md`: every number of the chain and its programs, with its reason. It is made from the
//! runtime's own values and from the sources' constants; this test fails where the page is not what they
//! come to.
//!
//! `KAISAR_WRITE=yes cargo test --workspace parameters_are_documented` writes it anew.

use super::*;
use crate::configs::params::dynamic_params;
use frame_support::dispatch::RawOrigin;
use kaisar_primitives::{BlockNumber, PlanRates};
use std::{
	collections::BTreeMap,
	fmt::Write,
	fs,
	path::{Path, PathBuf},
};

/// Where the parameters and their reasons are written.
const SOURCE: &str = include_str!("../configs/params.rs");
const PAGE: &str = "docs/parameters.md";
/// Crates whose constants are listed, and who changes them.
const CHAIN: [&str; 9] = [
	"pallets/providers",
	"pallets/licenses",
	"pallets/checkers",
	"pallets/popw",
	"pallets/rewards",
	"pallets/orders",
	"primitives",
	"math",
	"runtime",
];
const PROGRAMS: [&str; 6] = ["agent", "tunnel", "node", "relay", "cli", "fs"];

/// The value of a parameter, for people.
trait Shown {
	fn shown(&self) -> String;
}

impl Shown for Balance {
	fn shown(&self) -> String {
		let (whole, rest) = (self / KAI, self % KAI);
		assert_eq!(rest, 0, "a parameter is a whole number of KAI");
		format!("{} KAI", grouped(whole))
	}
}

impl Shown for BlockNumber {
	fn shown(&self) -> String {
		grouped((*self).into())
	}
}

impl Shown for u8 {
	fn shown(&self) -> String {
		self.to_string()
	}
}

impl Shown for bool {
	fn shown(&self) -> String {
		if *self { "yes" } else { "no" }.into()
	}
}

impl Shown for Perbill {
	fn shown(&self) -> String {
		let parts = self.deconstruct();
		assert_eq!(parts % 10_000_000, 0, "a parameter is a whole percentage");
		format!("{} %", parts / 10_000_000)
	}
}

impl Shown for FixedU128 {
	fn shown(&self) -> String {
		self.to_float().to_string()
	}
}

impl Shown for BenchParams {
	fn shown(&self) -> String {
		let Self {
			n,
			turns,
			window_mib,
			stages,
			memory_mib,
			disk_mib,
			reads,
			bandwidth_secs,
		} = self;
		format!(
			"n {n}, turns {turns}, window {window_mib} MiB, stages {stages}, memory {memory_mib} MiB, disk {disk_mib} \
			 MiB, reads {reads}, bandwidth {bandwidth_secs} s"
		)
	}
}

impl Shown for kaisar_math::emission::Split {
	fn shown(&self) -> String {
		[self.providers, self.checkers, self.validators]
			.map(|part| part.shown())
			.join(", ")
	}
}

impl Shown for kaisar_math::reward::Ratio {
	fn shown(&self) -> String {
		format!("{self:?}")
	}
}

impl Shown for PlanRates {
	fn shown(&self) -> String {
		format!("{}, {}", self.month.shown(), self.quarter.shown())
	}
}

/// A number with its thousands apart.
fn grouped(number: u128) -> String {
	let digits = number.to_string();
	let mut out = String::new();
	for (at, digit) in digits.chars().enumerate() {
		if at > 0 && (digits.len() - at).is_multiple_of(3) {
			out.push(',');
		}
		out.push(digit);
	}
	out
}

macro_rules! values {
	($($pallet:ident: $($name:ident $kind:ty),*;)*) => {
		/// The values of all parameters in this state, by pallet and name.
		fn values() -> BTreeMap<(&'static str, &'static str), String> {
			BTreeMap::from([$($((
				(stringify!($pallet), stringify!($name)),
				<dynamic_params::$pallet::$name as Get<$kind>>::get().shown(),
			)),*),*])
		}
	};
}

values! {
	providers: RegistrationFee Balance, BaseStake Balance, StakePerScore Balance, MaxStake Balance,
		Unbonding BlockNumber, SlashDeferral BlockNumber, SlashBounty Perbill;
	checkers: Deposit Balance;
	popw: PhaseLength BlockNumber, CheckPeriod u32, MaxDue u32, CommitteeSize u8, Bench BenchParams,
		TrialOffset BlockNumber, MinOperators u8, GapPeriods u32;
	rewards: EpochLength BlockNumber, Split kaisar_math::emission::Split, Ratio kaisar_math::reward::Ratio,
		PodFeeCap FixedU128, HistoryDepth u32, CpuOnlyWeight Perbill, PayUncalibrated bool;
	orders: DeployDeadline BlockNumber, SetupBlocks BlockNumber, BarBlocks BlockNumber, MatchDraws u32,
		IssueBond Balance, ProtocolFee Perbill, Plans PlanRates, ClosingTimeout BlockNumber, History BlockNumber;
}

/// All parameters of the source in its order: pallet, name, what it is and why, and its limits.
fn documented() -> Vec<[String; 4]> {
	let (mut pallet, mut doc) = (String::new(), Vec::new());
	let mut all = Vec::new();
	for line in SOURCE.lines().map(str::trim) {
		if let Some(text) = line.strip_prefix("///") {
			doc.push(text.trim().to_owned());
		} else if let Some(rest) = line.strip_prefix("pub mod ") {
			pallet = rest.trim_end_matches(" {").to_owned();
			doc.clear();
		} else if let Some(rest) = line.strip_prefix("pub static ") {
			let (name, _) = rest.split_once(':').unwrap();
			let text = std::mem::take(&mut doc).join(" ");
			let (what, limits) = text
				.split_once(" Limits: ")
				.unwrap_or_else(|| panic!("{name}: its doc has no \"Limits: …\": {text}"));
			let texts = [pallet.as_str(), name, what.trim(), limits].map(str::to_owned);
			all.push(texts);
		}
	}
	all
}

/// The page of the specification that has a pallet's rules.
fn rules_of(pallet: &str) -> &'static str {
	match pallet {
		"providers" => "02-providers.md",
		"checkers" => "03-checkers.md",
		"popw" => "04-popw.md",
		"rewards" => "05-rewards.md",
		"orders" => "06-orders.md",
		other => panic!("which page has the rules of {other}?"),
	}
}

/// A constant of the sources.
struct Constant {
	name: String,
	value: String,
	/// Its documentation, or that of the constants that it follows.
	doc: String,
}

/// The numbers that a file names, without those of its tests.
fn constants_of(text: &str) -> Vec<Constant> {
	const NUMBERS: [&str; 20] = [
		"Share",
		"u8",
		"u16",
		"u32",
		"u64",
		"u128",
		"usize",
		"i32",
		"i64",
		"f32",
		"f64",
		"Duration",
		"Perbill",
		"Permill",
		"FixedU128",
		"Balance",
		"BlockNumber",
		"Moment",
		"Weight",
		"Perquintill",
	];
	// Tests in the same file are at its end.
	let tests = text
		.match_indices("#[cfg(test)]\nmod ")
		.find(|(at, found)| {
			let name = &text[at + found.len()..];
			name.lines().next().is_some_and(|line| line.ends_with('{'))
		});
	let text = tests.map_or(text, |(at, _)| &text[..at]);
	let (mut doc, mut follows) = (Vec::<String>::new(), String::new());
	let mut all = Vec::new();
	let mut lines = text.lines().map(str::trim);
	while let Some(line) = lines.next() {
		if let Some(text) = line.strip_prefix("///") {
			doc.push(text.trim().into());
			continue;
		}
		if line.starts_with("#[") {
			continue;
		}
		let declared = line
			.trim_start_matches("pub(crate) ")
			.trim_start_matches("pub(super) ")
			.trim_start_matches("pub ")
			.strip_prefix("const ");
		let declared = declared.and_then(|rest| rest.split_once(": "));
		let Some((name, rest)) = declared.filter(|(name, _)| {
			name.starts_with(|first: char| first.is_ascii_uppercase())
				&& name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
		}) else {
			doc.clear();
			follows.clear();
			continue;
		};
		let mut rest = rest.to_owned();
		while !rest.contains(';') {
			let Some(next) = lines.next() else { break };
			rest.push(' ');
			rest.push_str(next);
		}
		if !doc.is_empty() {
			follows = std::mem::take(&mut doc).join(" ");
		}
		let Some((kind, value)) = rest.trim_end_matches(';').split_once(" =") else {
			continue;
		};
		if NUMBERS.contains(&kind) {
			all.push(Constant {
				name: name.into(),
				value: value.trim().into(),
				doc: follows.clone(),
			});
		}
	}
	all
}

/// All source files below a folder but those of tests, benches and mocks, in order.
fn sources(folder: &Path) -> Vec<PathBuf> {
	let mut all = Vec::new();
	let entries =
		fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
	for path in entries.map(|entry| entry.unwrap().path()) {
		let name = path.file_stem().unwrap().to_string_lossy().into_owned();
		if [
			"tests",
			"mock",
			"test",
			"benchmarking",
			"weights",
			"benches",
		]
		.contains(&name.as_str())
		{
			continue;
		}
		if path.is_dir() {
			all.extend(sources(&path));
		} else if path.extension().is_some_and(|kind| kind == "rs") {
			all.push(path);
		}
	}
	all.sort();
	all
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
	text.replace('|', "\\|")
}

fn constants(page: &mut String, root: &Path, crates: &[&str]) {
	for of in crates {
		let mut begun = false;
		for file in sources(&root.join(of).join("src")) {
			let found = constants_of(&fs::read_to_string(&file).unwrap());
			if found.is_empty() {
				continue;
			}
			if !begun {
				begun = true;
				writeln!(page, "\n### {of}").unwrap();
			}
			let path = file.strip_prefix(root).unwrap().display().to_string();
			writeln!(
				page,
				"\n[{path}](../{path})\n\n| name | value | what, and why |\n| --- | --- | --- |"
			)
			.unwrap();
			for Constant { name, value, doc } in found {
				writeln!(page, "| `{name}` | `{}` | {} |", cell(&value), cell(&doc)).unwrap();
			}
		}
	}
}

fn page(root: &Path) -> String {
	let in_state = |set: ParameterSet| {
		sp_io::TestExternalities::default().execute_with(|| {
			for parameter in set.values() {
				assert_ok!(crate::Parameters::set_parameter(
					RawOrigin::Root.into(),
					parameter
				));
			}
			values()
		})
	};
	let production = in_state(ParameterSet::Production);
	let short = in_state(ParameterSet::Short);
	let documented = documented();
	let named: Vec<_> = documented
		.iter()
		.map(|[pallet, name, ..]| (pallet.as_str(), name.as_str()))
		.collect();
	assert!(
		production.keys().all(|key| named.contains(key)) && named.len() == production.len(),
		"each parameter is in `values!` above: {named:?}"
	);
	let mut page = String::from(
		"# Parameters\n\n\
		 Every number of the chain and of its programs: its value, its place, and its reason. The page is generated by\n\
		 `KAISAR_WRITE=yes cargo test --workspace parameters_are_documented`, and a test compares it with the code.\n\n\
		 ## Parameters that governance changes\n\n\
		 They are chain state: the root origin changes one by `parameters.set_parameter`. Values out of range are\n\
		 clamped where they are read. A block is 12 s. *Development* is the presets `development` and `local`, where\n\
		 they differ.\n",
	);
	let mut pallet = String::new();
	for [of, name, text, limits] in &documented {
		if *of != pallet {
			pallet.clone_from(of);
			let rules = rules_of(of);
			writeln!(
				page,
				"\n### {pallet}\n\nThe rules: [{rules}](spec/{rules}).\n\n\
				 | name | production | development | what, and why | limits |\n| --- | --- | --- | --- | --- |"
			)
			.unwrap();
		}
		let key = (of.as_str(), name.as_str());
		let (value, other) = (&production[&key], &short[&key]);
		let other = if other == value { "" } else { other };
		writeln!(
			page,
			"| `{name}` | {value} | {other} | {} | {} |",
			cell(text),
			cell(limits)
		)
		.unwrap();
	}
	page.push_str(
		"\n## Constants of the chain\n\nA runtime upgrade changes them. Where several constants follow each other, they share a text.\n",
	);
	constants(&mut page, root, &CHAIN);
	page.push_str(
		"\n## Constants of the programs\n\nA release changes them; each machine runs what its owner installed.\n",
	);
	constants(&mut page, root, &PROGRAMS);
	page
}

#[test]
fn parameters_are_documented() {
	let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
	let page = page(root);
	let bare: Vec<&str> = page
		.lines()
		.filter(|line| line.starts_with("| `") && line.ends_with("|  |"))
		.collect();
	assert!(bare.is_empty(), "numbers without a reason: {bare:#?}");
	let path = root.join(PAGE);
	if std::env::var_os("KAISAR_WRITE").is_some() {
		fs::write(&path, &page).unwrap();
	}
	let written = fs::read_to_string(&path).unwrap_or_default();
	assert!(
		written == page,
		"{PAGE} is not what the code says: write it with KAISAR_WRITE=yes cargo test --workspace parameters_are_documented"
	);
}
