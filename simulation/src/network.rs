//! The network of a play: its rules, its accounts, its genesis.
//!
//! Parameters are production's, except those that the play's [`Rules`] change, and references are
//! calibrated. The checkers have no reserve, which would be paid out during the set-up; so all operators
//! together share the emission for checkers. Owners, operators and holders are accounts with ids derived
//! from numbers. The machines are those of `docs/rewards.md`: of every hundred, seventy have a 4090, ten
//! have eight H100, and twenty are servers without a GPU.
//!
//! Honest workers are registered by the usual call. Their first verification is not played: at genesis the
//! registry is informed of it as Popw would do it. All workers that come later are verified by rounds.

use crate::{
	chain::{Author, signed},
	physics,
};
use codec::Encode;
use kaisar_math::{ClassReference, Split};
use kaisar_primitives::{
	Balance, BlockNumber, CheckedWorkers, Closing, GpuClass, KAI, KeyProof, OperatorId, Outcome,
	WorkerId, WorkerKey, WorkerSpec,
	keys::{AgentKey, KeyRole, possession_payload},
};
use kaisar_runtime::{
	AccountId, Parameters, Providers, Rewards, Runtime, RuntimeOrigin, RuntimeParameters,
	SessionKeys, System,
	configs::params::dynamic_params::{popw, providers, rewards},
	constants::BABE_GENESIS_EPOCH_CONFIG,
	presets,
};
use serde_json::{Value, json};
use sp_core::{Pair, ed25519, sr25519};
use sp_keyring::Ed25519Keyring;
use sp_runtime::Perbill;

/// KAI of an account of the honest background, in addition to its stake: enough for ten registrations and
/// more.
const POCKET: Balance = 300 * KAI;
/// Number of workers of each owner in the honest background.
const WORKERS_OF_AN_OWNER: u32 = 10;
/// Region of the honest background.
pub const REGION: [u8; 2] = *b"DE";
/// Regions of the parties, so that an order can request a machine of a particular one.
const REGIONS: [[u8; 2]; 64] = [
	*b"AT", *b"BE", *b"BG", *b"CH", *b"CZ", *b"DK", *b"EE", *b"ES", *b"FI", *b"FR", *b"GB", *b"GR",
	*b"HR", *b"HU", *b"IE", *b"IS", *b"IT", *b"LT", *b"LU", *b"LV", *b"NL", *b"NO", *b"PL", *b"PT",
	*b"RO", *b"SE", *b"SI", *b"SK", *b"UA", *b"US", *b"CA", *b"MX", *b"BR", *b"AR", *b"CL", *b"CO",
	*b"PE", *b"UY", *b"JP", *b"KR", *b"CN", *b"IN", *b"ID", *b"MY", *b"PH", *b"SG", *b"TH", *b"VN",
	*b"AU", *b"NZ", *b"ZA", *b"EG", *b"KE", *b"MA", *b"NG", *b"TR", *b"IL", *b"AE", *b"SA", *b"QA",
	*b"KZ", *b"GE", *b"AM", *b"AZ",
];

/// Rules of a play that can differ from production's.
#[derive(Clone, Debug)]
pub struct Rules {
	/// Length of a phase of a spot round, in blocks.
	pub phase_length: BlockNumber,
	/// Interval from a round's start to its trial, in blocks.
	pub trial_offset: BlockNumber,
	/// Number of spot rounds in which one census starts on average.
	pub check_period: u32,
	/// Number of blocks before the opening, in which parties register and are verified, and no census
	/// starts. They emit nothing for providers and checkers.
	pub setup: BlockNumber,
	/// Length of each played epoch, in blocks.
	pub epoch_length: BlockNumber,
	/// Number of played epochs.
	pub epochs: u32,
	/// Minimum stake of a worker's owner, for any worker, in KAI units.
	pub base_stake: Balance,
	/// Further minimum stake for each GPU and point of its class score, in KAI units.
	pub stake_per_score: Balance,
	/// Other parameters.
	pub others: Vec<RuntimeParameters>,
}

impl Rules {
	/// Returns the rules of a short play: phases of ten blocks, as on a development chain, and a census
	/// about every sixty blocks. Everything else is production's.
	pub fn short() -> Self {
		Self {
			phase_length: 10,
			trial_offset: 8,
			check_period: 3,
			setup: 100,
			epoch_length: 400,
			epochs: 1,
			base_stake: 500 * KAI,
			stake_per_score: 200 * KAI,
			others: Vec::new(),
		}
	}

	/// Returns production's rules for a network of this size, and for about this number of censuses. The
	/// epoch is as long as the play. Above a hundred thousand workers, stakes are a tenth of production's,
	/// with which the stakes of a million workers would exceed the supply of KAI.
	pub fn production(workers: u32, censuses: u32) -> Self {
		use kaisar_math::rounds::{census_interval, census_phase};
		let phase = census_phase(25, workers, 40_000);
		let interval = census_interval(48, 25, 20 + 3 * phase);
		let scale = if workers > 100_000 { 10 } else { 1 };
		Self {
			phase_length: 25,
			trial_offset: 20,
			check_period: 48,
			setup: 300,
			epoch_length: interval * censuses,
			epochs: 1,
			base_stake: 500 * KAI / scale,
			stake_per_score: 200 * KAI / scale,
			others: Vec::new(),
		}
	}

	/// Returns the rules with one more parameter.
	pub fn with(mut self, parameter: RuntimeParameters) -> Self {
		self.others.push(parameter);
		self
	}
}

/// The honest network around the parties of a play.
#[derive(Clone, Debug)]
pub struct Network {
	/// Number of workers.
	pub workers: u32,
	/// Number of operators.
	pub operators: u32,
	/// Number of licenses of each operator, all of them active.
	pub licenses: u32,
	/// The rules.
	pub rules: Rules,
	/// Seed of all randomness.
	pub seed: u64,
}

impl Network {
	/// Returns a network with this number of workers, checked by three hundred operators with three thousand
	/// licenses; if the workers are few, by fifty operators with a hundred.
	pub fn of(workers: u32, rules: Rules, seed: u64) -> Self {
		Self {
			workers,
			operators: (workers / 2).clamp(40, 300),
			licenses: if workers < 1_000 { 2 } else { 10 },
			rules,
			seed,
		}
	}
}

/// Returns the account of this number of a party.
pub fn account(party: usize, number: u32) -> AccountId {
	AccountId::from(sp_io::hashing::blake2_256(
		&(b"simulation", party as u32, number).encode(),
	))
}

/// Returns the region of a party's machines.
pub fn region(party: usize) -> [u8; 2] {
	match party {
		0 => REGION,
		_ => REGIONS[(party - 1) % REGIONS.len()],
	}
}

/// Returns the key pair derived from a role and a number.
fn pair<P: Pair>(role: &[u8; 4], number: u32) -> P
where
	P::Seed: From<[u8; 32]>,
{
	P::from_seed(&sp_io::hashing::blake2_256(&(b"key", role, number).encode()).into())
}

/// Returns the keys of a worker, and the proof that its owner holds them.
pub fn worker_keys(owner: &AccountId, number: u32) -> (WorkerKey, AgentKey, KeyProof) {
	let key: sr25519::Pair = pair(b"work", number);
	let agent: ed25519::Pair = pair(b"agnt", number);
	let payload = possession_payload(KeyRole::Worker, System::block_hash(0), owner);
	let proof = KeyProof {
		key: key.sign(&payload),
		agent: agent.sign(&payload),
	};
	(key.public().into(), agent.public(), proof)
}

/// Returns the minimum stake for a claim, in KAI units.
pub fn minimum(claim: &WorkerSpec) -> Balance {
	Providers::minimum_stake(claim.gpu_class, claim.gpu_count).unwrap_or(0)
}

/// An account at genesis that operates its own licenses.
#[derive(Clone, Debug)]
pub struct Checker {
	/// The account.
	pub account: AccountId,
	/// Number of its licenses.
	pub licenses: u32,
}

/// Returns the claim of the background's worker of this number.
pub fn background_claim(worker: WorkerId) -> WorkerSpec {
	match worker % 10 {
		0 => physics::rack(REGION),
		1 | 2 => physics::server(REGION),
		_ => physics::home(REGION),
	}
}

/// Returns the published score of a GPU of a class, in hundredths.
pub fn class_score(class: GpuClass) -> u32 {
	kaisar_math::classes::CLASSES
		.iter()
		.find(|it| it.id == class)
		.map_or(0, |it| it.score)
}

/// Returns the stake of a worker of the background: a little above the minimum, so that one slash does not
/// suspend it.
fn background_stake(rules: &Rules, claim: &WorkerSpec) -> Balance {
	let least = kaisar_math::stake::minimum(
		rules.base_stake,
		rules.stake_per_score,
		class_score(claim.gpu_class),
		claim.gpu_count,
	);
	least.unwrap_or(0) * 11 / 10
}

/// Returns the owner of the background's worker of this number.
pub fn background_owner(worker: WorkerId) -> AccountId {
	account(0, 1_000_000 + worker / WORKERS_OF_AN_OWNER)
}

/// Returns the checkers of the background.
pub fn background_checkers(network: &Network) -> Vec<Checker> {
	(0..network.operators)
		.map(|operator| Checker {
			account: account(0, operator),
			licenses: network.licenses,
		})
		.collect()
}

/// Builds the genesis of a network, with the accounts and checkers of all parties, and sets its parameters.
pub fn build(network: &Network, author: &Author, purses: &[(AccountId, Balance)], all: &[Checker]) {
	let rules = &network.rules;
	set_parameters(rules);
	let genesis = genesis(network, author, purses, all);
	presets::build_state(genesis.to_string().as_bytes()).expect("the genesis holds together");
	// These parameters count from the first played epoch on.
	for value in [
		rewards::Parameters::EpochLength(rewards::EpochLength, Some(rules.epoch_length)),
		rewards::Parameters::Split(rewards::Split, Some(Split::default())),
	] {
		set(RuntimeParameters::Rewards(value));
	}
	calibrate();
	for worker in 0..network.workers {
		register_background(rules, worker);
	}
}

fn set(parameter: RuntimeParameters) {
	Parameters::set_parameter(RuntimeOrigin::root(), parameter).expect("root sets parameters");
}

/// Sets the parameters that hold before the opening.
fn set_parameters(rules: &Rules) {
	let nothing = Split {
		providers: Perbill::zero(),
		checkers: Perbill::zero(),
		validators: Perbill::one(),
	};
	for value in [
		popw::Parameters::PhaseLength(popw::PhaseLength, Some(rules.phase_length)),
		popw::Parameters::TrialOffset(popw::TrialOffset, Some(rules.trial_offset)),
		// No census starts before the opening.
		popw::Parameters::CheckPeriod(popw::CheckPeriod, Some(u32::MAX)),
	] {
		set(RuntimeParameters::Popw(value));
	}
	for value in [
		rewards::Parameters::EpochLength(rewards::EpochLength, Some(rules.setup)),
		rewards::Parameters::Split(rewards::Split, Some(nothing)),
	] {
		set(RuntimeParameters::Rewards(value));
	}
	for value in [
		providers::Parameters::BaseStake(providers::BaseStake, Some(rules.base_stake)),
		providers::Parameters::StakePerScore(providers::StakePerScore, Some(rules.stake_per_score)),
	] {
		set(RuntimeParameters::Providers(value));
	}
	for value in &rules.others {
		set(value.clone());
	}
}

/// Opens the play: from now on, censuses start.
pub fn open(rules: &Rules) {
	let value = popw::Parameters::CheckPeriod(popw::CheckPeriod, Some(rules.check_period));
	set(RuntimeParameters::Popw(value));
}

/// Marks all references that are paid here as measured.
fn calibrate() {
	for class in [physics::HOME_CLASS, physics::RACK_CLASS] {
		let reference = Rewards::class_reference(class).expect("genesis has a reference");
		let measured = ClassReference {
			calibrated: true,
			..reference
		};
		Rewards::set_class_reference(RuntimeOrigin::root(), class, Some(measured))
			.expect("the reference is valid");
	}
}

fn genesis(
	network: &Network,
	author: &Author,
	purses: &[(AccountId, Balance)],
	all: &[Checker],
) -> Value {
	let validator = account(0, u32::MAX);
	let keys = SessionKeys {
		babe: author.public().into(),
		grandpa: Ed25519Keyring::Alice.public().into(),
	};
	let mut balances = vec![(validator.clone(), 1_000_000 * KAI)];
	balances.extend(purses.iter().cloned());
	balances.extend(all.iter().map(|it| (it.account.clone(), POCKET)));
	let stakes: Balance = (0..WORKERS_OF_AN_OWNER)
		.map(|worker| background_stake(&network.rules, &background_claim(worker)))
		.sum();
	let owners = network.workers.div_ceil(WORKERS_OF_AN_OWNER);
	balances.extend((0..owners).map(|owner| {
		let account = background_owner(owner * WORKERS_OF_AN_OWNER);
		(account, stakes + POCKET)
	}));
	// Each pot has an existential deposit of its own.
	let pots = [
		kaisar_runtime::fees::fee_pot(),
		kaisar_runtime::fees::treasury(),
		Providers::pot(),
		kaisar_runtime::Orders::pot(),
	];
	balances.extend(pots.map(|pot| (pot, kaisar_runtime::constants::EXISTENTIAL_DEPOSIT)));

	let licenses: Vec<_> = all
		.iter()
		.map(|it| (it.account.clone(), it.licenses))
		.collect();
	let operators: Vec<_> = (0..)
		.zip(all)
		.map(|(number, it): (OperatorId, _)| {
			let key: sr25519::Pair = pair(b"chck", number);
			let agent: ed25519::Pair = pair(b"cagt", number);
			let commission = Perbill::zero();
			(
				it.account.clone(),
				key.public(),
				agent.public(),
				commission,
				true,
			)
		})
		.collect();
	let mut first = 0;
	let mut delegations = Vec::new();
	for it in all {
		delegations.extend((first..first + it.licenses).map(|id| (id, it.account.clone())));
		first += it.licenses;
	}
	let prices: Vec<_> = std::iter::once((0, KAI / 20))
		.chain(
			kaisar_math::classes::CLASSES
				.iter()
				.map(|class| (class.id, Balance::from(class.score) * (KAI / 100))),
		)
		.collect();

	let default = presets::get_preset(None).expect("the default");
	let mut genesis: Value = serde_json::from_slice(&default).expect("presets are JSON");
	genesis["balances"]["balances"] = json!(balances);
	genesis["babe"]["epochConfig"] = json!(BABE_GENESIS_EPOCH_CONFIG);
	genesis["session"]["keys"] = json!([(validator.clone(), validator, keys)]);
	genesis["licenses"]["licenses"] = json!(licenses);
	genesis["checkers"]["operators"] = json!(operators);
	genesis["checkers"]["delegations"] = json!(delegations);
	genesis["orders"]["prices"] = json!(prices);
	genesis
}

/// Registers a worker of the background, and informs the registry of its verification.
fn register_background(rules: &Rules, worker: WorkerId) {
	let owner = background_owner(worker);
	let claim = background_claim(worker);
	let (key, agent, proof) = worker_keys(&owner, worker);
	let stake = background_stake(rules, &claim);
	Providers::register_worker(signed(&owner), claim, key, agent, stake, proof)
		.expect("the background can register");
	let closing = Closing {
		round: 0,
		round_start: 0,
		outcome: Outcome::Online {
			profile: Some(claim.bound()),
			service: true,
		},
		rented: false,
		full: true,
		credit: 0,
		false_proof: false,
		slashes: false,
	};
	<Providers as CheckedWorkers<AccountId>>::closed(worker, &closing, None)
		.expect("the background is verified");
}

/// Returns whether the runtime's own invariants hold, of all pallets of this chain.
pub fn try_state() -> Result<(), sp_runtime::TryRuntimeError> {
	Providers::do_try_state()?;
	pallet_licenses::Pallet::<Runtime>::do_try_state()?;
	pallet_checkers::Pallet::<Runtime>::do_try_state()?;
	pallet_popw::Pallet::<Runtime>::do_try_state()?;
	pallet_rewards::Pallet::<Runtime>::do_try_state()?;
	pallet_orders::Pallet::<Runtime>::do_try_state()
}
