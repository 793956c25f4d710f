//! Genesis presets of the three chains that this WASM can start.
//!
//! - `development`: a chain on which one machine shows the whole life of a worker, from its registration to
//!   its rewards. Alice validates and holds sudo; `//Provider` owns workers; `//Checker1` … `//Checker3` are
//!   operators with licenses of their own. Rounds and epochs are short.
//! - `local`: a chain with two validators, Alice and Bob, and with short rounds and epochs.
//! - `staging`: a chain with production's parameters and allocation, without sudo and without keys: those
//!   who start it bring their own ([`staging`]).
//!
//! A preset's JSON is the genesis configuration of the pallets, and a further field, `parameterSet`, which
//! selects the initial values of the dynamic parameters. They are set before any pallet builds its genesis,
//! since pallets read them there.

use crate::{
	AccountId, BabeConfig, Balance, BalancesConfig, CheckersConfig, LicensesConfig, Orders,
	OrdersConfig, Providers, Rewards, RewardsConfig, RuntimeGenesisConfig, RuntimeOrigin,
	SessionConfig, SessionKeys, SudoConfig, constants::*, fees,
};
use alloc::{format, string::ToString, vec, vec::Vec};
use frame_support::build_struct_json_patch;
use kaisar_primitives::{AgentKey, BlockNumber, DAYS, GpuClass, KAI, Pot};
use pallet_licenses::SaleRound;
use serde_json::Value;
use sp_core::sr25519;
use sp_genesis_builder::PresetId;
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};
use sp_runtime::Perbill;

/// Name of the preset for a chain on one machine.
pub const DEVELOPMENT: &str = sp_genesis_builder::DEV_RUNTIME_PRESET;
/// Name of the preset for a chain with two validators.
pub const LOCAL: &str = "local";
/// Name of the preset with production's parameters.
pub const STAGING: &str = "staging";

/// Field of the genesis JSON that names a [`ParameterSet`].
const PARAMETER_SET: &str = "parameterSet";
/// Allocation of production at genesis, in KAI units: 590,032,000 KAI, the cap less the emission.
pub const GENESIS_ALLOCATION: Balance = kaisar_math::emission::GENESIS_ALLOCATION;
/// Part of the allocation that is reserved for checkers, in KAI units: 118,006,400 KAI, a fifth of the cap
/// less their part of the emission.
pub const CHECKER_RESERVE: Balance = kaisar_math::emission::CHECKERS_RESERVE;

/// Initial values of the dynamic parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParameterSet {
	/// Production's values, which are those in the code.
	Production,
	/// Values with which rounds and epochs take minutes.
	Short,
}

impl ParameterSet {
	/// Returns the set's name in a chain spec.
	pub fn name(self) -> &'static str {
		match self {
			Self::Production => "production",
			Self::Short => "short",
		}
	}

	/// Returns the set with this name.
	fn by_name(name: &str) -> Option<Self> {
		[Self::Production, Self::Short]
			.into_iter()
			.find(|set| set.name() == name)
	}

	/// Returns the parameters that the set changes; all others keep the values in the code.
	pub fn values(self) -> Vec<crate::RuntimeParameters> {
		match self {
			Self::Production => Vec::new(),
			Self::Short => crate::configs::params::short(),
		}
	}
}

/// Returns the names of the presets.
pub fn names() -> Vec<PresetId> {
	[DEVELOPMENT, LOCAL, STAGING]
		.into_iter()
		.map(PresetId::from)
		.collect()
}

/// Returns a preset as JSON: a patch of the default, which has no name.
pub fn get_preset(name: Option<&str>) -> Option<Vec<u8>> {
	let json = match name {
		None => default_genesis(),
		Some(DEVELOPMENT) => development(),
		Some(LOCAL) => local(),
		Some(STAGING) => staging(Vec::new(), Vec::new()).ok()?,
		Some(_) => return None,
	};
	Some(json.to_string().into_bytes())
}

/// Writes a genesis JSON into storage: first the parameters, then the pallets' genesis.
pub fn build_state(json: &[u8]) -> sp_genesis_builder::Result {
	let mut json: Value = serde_json::from_slice(json)
		.map_err(|error| format!("The genesis configuration is not valid JSON: {error}"))?;
	let set = json
		.as_object_mut()
		.ok_or("The genesis configuration is not a JSON object")?
		.remove(PARAMETER_SET)
		.unwrap_or_else(|| ParameterSet::Production.name().into());
	let set = set
		.as_str()
		.and_then(ParameterSet::by_name)
		.ok_or_else(|| {
			format!("The parameter set {set} is unknown; expected production or short")
		})?;
	let config: RuntimeGenesisConfig = serde_json::from_value(json)
		.map_err(|error| format!("Invalid genesis configuration: {error}"))?;

	for value in set.values() {
		crate::Parameters::set_parameter(RuntimeOrigin::root(), value)
			.map_err(|error| format!("Cannot set a parameter: {error:?}"))?;
	}
	frame_support::traits::BuildGenesisConfig::build(&config);
	Ok(())
}

/// Returns the default genesis, with every field.
fn default_genesis() -> Value {
	let mut json = serde_json::to_value(RuntimeGenesisConfig::default()).unwrap_or_default();
	json[PARAMETER_SET] = ParameterSet::Production.name().into();
	json
}

/// Account and session keys of a validator.
pub type Validator = (AccountId, SessionKeys);

/// Returns a validator with the keys of a well-known name, for test networks only.
fn validator(name: Sr25519Keyring, finality: Ed25519Keyring) -> Validator {
	let keys = SessionKeys {
		babe: name.public().into(),
		grandpa: finality.public().into(),
	};
	(name.to_account_id(), keys)
}

/// Values in which the presets differ.
struct Network {
	/// Set of parameters.
	set: ParameterSet,
	/// Validators.
	validators: Vec<Validator>,
	/// Balances, in KAI units; the pots' existential deposits are added.
	balances: Vec<(AccountId, Balance)>,
	/// Holder of sudo.
	sudo: Option<AccountId>,
	/// Registered operators.
	checkers: Vec<dev::Checker>,
	/// Number of licenses by holder.
	licenses: Vec<(AccountId, u32)>,
	/// Open round of the license sale.
	sale: Option<SaleRound<Balance, BlockNumber>>,
	/// Reference prices, in KAI units for a GPU and hour, or for a core and hour.
	prices: Vec<(GpuClass, Balance)>,
}

/// Returns the genesis of a network.
fn genesis(network: Network) -> Value {
	let Network {
		set,
		validators,
		mut balances,
		sudo,
		checkers,
		licenses,
		sale,
		prices,
	} = network;
	balances.extend(pots().map(|pot| (pot, EXISTENTIAL_DEPOSIT)));
	// A checker holds the licenses that follow those of the checkers before it, and operates them itself.
	let mut first = 0;
	let mut delegations = Vec::new();
	for (account, count) in &licenses {
		if checkers
			.iter()
			.any(|checker| account == &AccountId::from(checker.account))
		{
			delegations.extend((first..first + count).map(|license| (license, account.clone())));
		}
		first += count;
	}
	let operators = checkers
		.into_iter()
		.map(|checker| {
			(
				AccountId::from(checker.account),
				sr25519::Public::from_raw(checker.key).into(),
				AgentKey::from_raw(checker.agent),
				Perbill::from_percent(10),
				true,
			)
		})
		.collect::<Vec<_>>();
	let mut json = build_struct_json_patch!(RuntimeGenesisConfig {
		balances: BalancesConfig { balances },
		babe: BabeConfig {
			epoch_config: BABE_GENESIS_EPOCH_CONFIG
		},
		session: SessionConfig {
			keys: validators
				.into_iter()
				.map(|(account, keys)| (account.clone(), account, keys))
				.collect::<Vec<_>>(),
		},
		sudo: SudoConfig { key: sudo },
		licenses: LicensesConfig { licenses, sale },
		checkers: CheckersConfig {
			operators,
			delegations
		},
		rewards: RewardsConfig {
			reserve: CHECKER_RESERVE
		},
		orders: OrdersConfig { prices },
	});
	json[PARAMETER_SET] = set.name().into();
	json
}

/// Returns the second round of the license sale, open from the first block on: anyone may buy, with 5 % off
/// for buyers with a referrer. Sudo can set the terms of the first round, or any others.
fn open_sale() -> SaleRound<Balance, BlockNumber> {
	SaleRound {
		price: 2_600 * KAI,
		public: true,
		whitelist_discount: Perbill::zero(),
		referral_discount: Perbill::from_percent(5),
		referral_commission: Perbill::from_percent(10),
		per_account_limit: 100,
		starts: 0,
		ends: 365 * DAYS,
	}
}

/// Returns prices for development networks: a GPU and hour costs as many KAI as its class scores, a core and
/// hour a twentieth of a KAI. In production, governance or the oracle sets prices, and until then nobody can
/// order.
fn toy_prices() -> Vec<(GpuClass, Balance)> {
	let gpus = kaisar_math::classes::CLASSES
		.iter()
		.map(|class| (class.id, Balance::from(class.score) * (KAI / 100)));
	core::iter::once((0, KAI / 20)).chain(gpus).collect()
}

/// Returns the accounts of the pots. They exist from the start, so that no payment into them is too small.
fn pots() -> [AccountId; 6] {
	[
		fees::fee_pot(),
		fees::treasury(),
		Providers::pot(),
		Orders::pot(),
		Rewards::pot_account(Pot::Providers),
		Rewards::pot_account(Pot::Checkers),
	]
}

/// Returns the genesis of `development`.
fn development() -> Value {
	let mut balances: Vec<_> = Sr25519Keyring::well_known()
		.map(|name| (name.to_account_id(), 1_000_000 * KAI))
		.collect();
	balances.push((dev::PROVIDER.into(), 100_000 * KAI));
	balances.extend(dev::CHECKERS.map(|checker| (checker.account.into(), 100_000 * KAI)));
	genesis(Network {
		set: ParameterSet::Short,
		validators: vec![validator(Sr25519Keyring::Alice, Ed25519Keyring::Alice)],
		balances,
		sudo: Some(Sr25519Keyring::Alice.to_account_id()),
		checkers: dev::CHECKERS.into(),
		licenses: dev::CHECKERS
			.map(|checker| (checker.account.into(), dev::LICENSES))
			.into(),
		sale: Some(open_sale()),
		prices: toy_prices(),
	})
}

/// Returns the genesis of `local`. Its checkers hold licenses, and still have to register.
fn local() -> Value {
	let mut balances: Vec<_> = Sr25519Keyring::well_known()
		.map(|name| (name.to_account_id(), 1_000_000 * KAI))
		.collect();
	balances.push((dev::PROVIDER.into(), 100_000 * KAI));
	balances.extend(dev::CHECKERS.map(|checker| (checker.account.into(), 100_000 * KAI)));
	genesis(Network {
		set: ParameterSet::Short,
		validators: vec![
			validator(Sr25519Keyring::Alice, Ed25519Keyring::Alice),
			validator(Sr25519Keyring::Bob, Ed25519Keyring::Bob),
		],
		balances,
		sudo: Some(Sr25519Keyring::Alice.to_account_id()),
		checkers: Vec::new(),
		licenses: dev::CHECKERS
			.map(|checker| (checker.account.into(), dev::LICENSES))
			.into(),
		sale: Some(open_sale()),
		prices: toy_prices(),
	})
}

/// Returns the genesis of a staging chain: production's parameters, with these validators and balances. The
/// rest of the allocation goes to the treasury. The preset itself has neither, since it must not have
/// well-known keys; it does not start a chain.
///
/// Fails if the balances exceed production's allocation, or if one is of a pot or below the existential
/// deposit.
pub fn staging(
	validators: Vec<Validator>,
	balances: Vec<(AccountId, Balance)>,
) -> Result<Value, &'static str> {
	let reserved: Vec<_> = pots().into();
	if balances.iter().any(|(who, _)| reserved.contains(who)) {
		return Err("a balance belongs to one of the chain's own accounts; remove it");
	}
	if balances
		.iter()
		.any(|(_, amount)| *amount < EXISTENTIAL_DEPOSIT)
	{
		return Err("a balance is below the existential deposit of 0.001 KAI");
	}
	let free =
		GENESIS_ALLOCATION - CHECKER_RESERVE - reserved.len() as Balance * EXISTENTIAL_DEPOSIT;
	let rest = balances
		.iter()
		.try_fold(free, |rest, (_, amount)| rest.checked_sub(*amount))
		.ok_or("the balances are more than the 472,025,600 KAI that a genesis can allocate")?;
	let mut json = genesis(Network {
		set: ParameterSet::Production,
		validators,
		balances,
		sudo: None,
		checkers: Vec::new(),
		licenses: Vec::new(),
		sale: None,
		prices: Vec::new(),
	});
	let all = json["balances"]["balances"]
		.as_array_mut()
		.into_iter()
		.flatten();
	let treasury = serde_json::json!(fees::treasury());
	for entry in all.filter(|entry| entry[0] == treasury) {
		entry[1] = serde_json::json!(EXISTENTIAL_DEPOSIT + rest);
	}
	Ok(json)
}

/// Public keys of the development chain, each derived from the well-known development phrase by the path
/// beside it. (The WASM cannot derive them; a test does.)
pub mod dev {
	use hex_literal::hex;

	/// Operator of the development chain.
	pub struct Checker {
		/// Account, `//CheckerN`.
		pub account: [u8; 32],
		/// Checker key, `//CheckerN//key`.
		pub key: [u8; 32],
		/// Key of its agent, ed25519, `//CheckerN//agent`.
		pub agent: [u8; 32],
	}

	/// Number of licenses that each checker holds.
	pub const LICENSES: u32 = 10;
	/// Account of the provider, `//Provider`.
	pub const PROVIDER: [u8; 32] =
		hex!("ea3801477a2f2e35ac843d34bcc01a20e8cf72eab1ee8f016c189a3ebdb68b36");
	/// The operators `//Checker1` … `//Checker3`.
	pub const CHECKERS: [Checker; 3] = [
		Checker {
			account: hex!("b8ded1364bf5e117049432619e90934d72632c6016b9e1e33ae740526a36c16d"),
			key: hex!("4cb655f4b9edfbf7964b0da731efc09b20753f92e39e8c70a02b648a1c1fe338"),
			agent: hex!("e1a760702368a7104bff9f320e24c3c912e4f4f62d5f7416834ee94743ad7007"),
		},
		Checker {
			account: hex!("761db66b7a79b06097e781a8e97e319cd5c72612b1aeef486321d67c4423a844"),
			key: hex!("5a80cc5e1e1221451a8839da0413e7e1fee1a8c46267c7065abf317d74bec619"),
			agent: hex!("fc515010c5e0b5565dea4117960c69278b4fbd281d08612b63e2165bb12a7c5c"),
		},
		Checker {
			account: hex!("92d7b2059abbf0cc257cb8651de33a25495f5033a2c0e7cf8ed6d90ece32eb14"),
			key: hex!("fc926bb8f2cabda01de877b589b1537e1492110caee7b93ad96877188aeeb86d"),
			agent: hex!("0d387a9786270741bdc4754fa5bd5649bcc4e32f46b603890f3f9988300535b1"),
		},
	];
}
