//! Builds the chain spec of a staging chain: production's parameters, with the validators and balances of a
//! file.

use crate::chain_spec::{self, ChainSpec, Origin};
use kaisar_primitives::{Balance, KAI};
use kaisar_runtime::{AccountId, SessionKeys, presets};
use serde::Deserialize;
use sp_core::{Pair, crypto::DEV_PHRASE, ed25519, sr25519};
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};
use std::{
	collections::{BTreeMap, BTreeSet},
	path::Path,
};

/// Format of the file, for the help. Lines stay below 80 characters, where clap would break them.
pub const EXAMPLE: &str = r#"FILE is JSON. Keys and accounts are SS58 addresses, or 0x and 64 hex
digits; amounts are in KAI:

  {
    "validators": [
      { "account": "5F…", "babe": "5D…", "grandpa": "5H…" }
    ],
    "balances": [["5F…", "1000"], ["5C…", "250000.5"]]
  }

The rest of the genesis allocation goes to the treasury. `name` and `id` may
be added; by default the chain is "Kaisar Staging", `kaisar_staging`.

Each validator makes its keys, inserts them, and starts its node:

  kaisar-node key generate --scheme sr25519
  kaisar-node key generate --scheme ed25519
  kaisar-node key insert --chain staging.json --base-path DIR \
    --key-type babe --scheme sr25519 --suri PHRASE
  kaisar-node key insert --chain staging.json --base-path DIR \
    --key-type gran --scheme ed25519 --suri PHRASE
  kaisar-node key generate-node-key --chain staging.json --base-path DIR
  kaisar-node --chain staging.json --base-path DIR --validator"#;

/// Contents of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
	name: Option<String>,
	id: Option<String>,
	validators: Vec<Validator>,
	#[serde(default)]
	balances: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Validator {
	account: String,
	babe: String,
	grandpa: String,
}

/// Returns the chain spec with the keys and balances in a file.
pub fn spec(file: &Path) -> Result<ChainSpec, String> {
	let named = |why: String| format!("{}: {why}", file.display());
	let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
	of_text(&text).map_err(named)
}

fn of_text(text: &str) -> Result<ChainSpec, String> {
	let keys: Keys = serde_json::from_str(text)
		.map_err(|error| format!("{error}; `kaisar-node staging-spec --help` shows the format"))?;
	if keys.validators.is_empty() {
		return Err(
			"the list of validators is empty; a chain needs at least one, or four to survive the loss of one"
				.into(),
		);
	}
	let known: BTreeSet<_> = known_keys().collect();
	let mut used = BTreeSet::new();
	let mut validators = Vec::new();
	for (at, validator) in keys.validators.iter().enumerate() {
		let mut key = |what: &str, text: &str| {
			let bytes =
				key(text, &known).map_err(|why| format!("validator {}, {what}: {why}", at + 1))?;
			match used.insert(bytes) {
				true => Ok(bytes),
				false => Err(format!(
					"validator {}, {what}: `{text}` was used before in the file; use a different key for each \
					 account and session key",
					at + 1
				)),
			}
		};
		let account = key("account", &validator.account)?;
		let keys = SessionKeys {
			babe: sr25519::Public::from_raw(key("babe", &validator.babe)?).into(),
			grandpa: ed25519::Public::from_raw(key("grandpa", &validator.grandpa)?).into(),
		};
		validators.push((AccountId::from(account), keys));
	}
	let mut balances = BTreeMap::new();
	for (account, amount) in &keys.balances {
		let named = |why| format!("balance of `{account}`: {why}");
		let who = AccountId::from(key(account, &known).map_err(named)?);
		let amount = kai(amount).map_err(named)?;
		if balances.insert(who, amount).is_some() {
			return Err(named("the account is listed twice".into()));
		}
	}
	let json = presets::staging(validators, balances.into_iter().collect())?;
	let (name, id, kind) = chain_spec::STAGING;
	let name = keys.name.as_deref().unwrap_or(name);
	let id = keys.id.as_deref().unwrap_or(id);
	let builder = chain_spec::builder(name, id, kind, Origin::default())?;
	Ok(builder.with_genesis_config_patch(json).build())
}

/// Returns the bytes of a key, unless its secret is well known.
fn key(text: &str, known: &BTreeSet<[u8; 32]>) -> Result<[u8; 32], String> {
	let account: AccountId = text.parse().map_err(|why| {
		format!("`{text}` is neither an SS58 address nor 0x and 64 hex digits ({why})")
	})?;
	let bytes: [u8; 32] = account.into();
	// Anybody can sign for the zero key as well.
	if bytes == [0; 32] || known.contains(&bytes) {
		return Err(format!(
			"the secret of `{text}` is well known; generate a key with `kaisar-node key generate`"
		));
	}
	Ok(bytes)
}

/// Returns the public keys of the development phrase: of the phrase itself, of the keyring's names, and of
/// the accounts and agents of the development chain, in both schemes.
fn known_keys() -> impl Iterator<Item = [u8; 32]> {
	let checkers = (1..=presets::dev::CHECKERS.len())
		.flat_map(|number| ["", "//key", "//agent"].map(|path| format!("//Checker{number}{path}")));
	let provider = ["", "//worker", "//agent"].map(|path| format!("//Provider{path}"));
	let names = Sr25519Keyring::iter().map(|name| name.public().0);
	let finality = Ed25519Keyring::iter().map(|name| name.public().0);
	[DEV_PHRASE.to_owned()]
		.into_iter()
		.chain(provider)
		.chain(checkers)
		.flat_map(|secret| {
			let accounts = sr25519::Pair::from_string(&secret, None).map(|pair| pair.public().0);
			let finality = ed25519::Pair::from_string(&secret, None).map(|pair| pair.public().0);
			[accounts, finality].into_iter().flatten()
		})
		.chain(names)
		.chain(finality)
}

/// Parses a decimal amount of KAI with up to 18 digits after the point. Returns units of 10⁻¹⁸ KAI.
fn kai(text: &str) -> Result<Balance, String> {
	let wrong = || {
		format!("`{text}` is not an amount of KAI; expected a decimal such as \"1000\" or \"0.5\"")
	};
	let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
	let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
	if !digits(whole) || !digits(part) || part.len() > 18 {
		return Err(wrong());
	}
	let whole: Balance = whole.parse().map_err(|_| wrong())?;
	let part: Balance = format!("{part:0<18}").parse().map_err(|_| wrong())?;
	whole
		.checked_mul(KAI)
		.and_then(|units| units.checked_add(part))
		.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
	use super::*;
	use sp_core::crypto::Ss58Codec;

	fn own(byte: u8) -> String {
		sr25519::Pair::from_seed(&[byte; 32])
			.public()
			.to_ss58check()
	}

	fn file(account: &str, babe: &str, balances: &str) -> String {
		let grandpa = own(3);
		format!(
			r#"{{"validators":[{{"account":"{account}","babe":"{babe}","grandpa":"{grandpa}"}}],"balances":{balances}}}"#
		)
	}

	#[test]
	fn a_chain_starts_with_the_keys_and_balances_of_the_file() {
		let balances = format!(r#"[["{}","1000"],["{}","0.5"]]"#, own(1), own(4));
		let spec = of_text(&file(&own(1), &own(2), &balances)).expect("the file is valid");
		assert_eq!(sc_chain_spec::ChainSpec::id(&spec), "kaisar_staging");
		assert_eq!(chain_spec::preset(&spec), None);
		let json: serde_json::Value =
			serde_json::from_str(&spec.as_json(false).expect("the chain spec is JSON"))
				.expect("the chain spec is JSON");
		let patch = &json["genesis"]["runtimeGenesis"]["patch"];
		let account = |byte| {
			AccountId::from_ss58check(&own(byte))
				.expect("the address is valid")
				.to_string()
		};
		assert_eq!(patch["session"]["keys"][0][0], account(1));
		assert_eq!(patch["session"]["keys"][0][2]["babe"], account(2));
		let owned = patch["balances"]["balances"].as_array().expect("a list");
		assert!(
			owned
				.iter()
				.any(|it| it[0] == account(4) && it[1] == 500_000_000_000_000_000u64)
		);
		// The runtime builds the genesis, and so does a node that reads the file.
		let raw = spec.as_json(true).expect("the runtime takes it");
		assert!(ChainSpec::from_json_bytes(raw.into_bytes()).is_ok());
	}

	#[test]
	fn fails_for_keys_that_everybody_knows() {
		for name in [
			DEV_PHRASE,
			"//Alice",
			"//Bob//stash",
			"//Provider",
			"//Provider//worker",
			"//Checker2",
		] {
			let pair = sr25519::Pair::from_string(name, None).expect("the secret is valid");
			let known = pair.public().to_ss58check();
			for text in [
				file(&known, &own(2), "[]"),
				file(&own(1), &known, "[]"),
				file(&own(1), &own(2), &format!(r#"[["{known}","1"]]"#)),
			] {
				let why = of_text(&text).err().expect(name);
				assert!(why.contains("well known") && why.contains(&known), "{why}");
			}
		}
		let grandpa = ed25519::Pair::from_string("//Alice", None)
			.expect("the secret is valid")
			.public();
		let text = file(&own(1), &format!("0x{}", hex::encode(grandpa)), "[]");
		assert!(of_text(&text).is_err_and(|why| why.contains("well known")));
	}

	#[test]
	fn fails_for_what_is_no_chain() {
		let balance =
			|amount: &str| file(&own(1), &own(2), &format!(r#"[["{}","{amount}"]]"#, own(5)));
		for (text, part) in [
			("{".to_string(), "--help"),
			(r#"{"validators":[]}"#.into(), "at least one"),
			(
				r#"{"validators":[],"sudo":"x"}"#.into(),
				"unknown field `sudo`",
			),
			(file("Alice", &own(2), "[]"), "neither an SS58"),
			(file(&own(1), &own(1), "[]"), "was used before"),
			(balance("-1"), "not an amount"),
			(balance("1,000"), "not an amount"),
			(balance("1e3"), "not an amount"),
			(balance("0.0000000000000000001"), "not an amount"),
			(balance("472025601"), "more than"),
			(balance("0.000001"), "existential"),
		] {
			let why = of_text(&text).err().expect(&text);
			assert!(why.contains(part), "{text}: {why}");
		}
		assert_eq!(kai("12.034"), Ok(12_034 * KAI / 1_000));
		// One account twice, however it is written.
		let hex = format!(
			"0x{}",
			hex::encode(sr25519::Pair::from_seed(&[5; 32]).public())
		);
		for again in [own(5), hex] {
			let twice = format!(r#"[["{}","1"],["{again}","2"]]"#, own(5));
			let why = of_text(&file(&own(1), &own(2), &twice))
				.err()
				.expect(&again);
			assert!(why.contains("listed twice"), "{why}");
		}
		let zero = format!("0x{}", "0".repeat(64));
		let why = of_text(&file(&zero, &own(2), "[]"))
			.err()
			.expect("the zero key is refused");
		assert!(why.contains("well known"), "{why}");
	}

	#[test]
	fn no_chain_is_the_default() {
		let none = chain_spec::load("")
			.expect("the name is known")
			.err()
			.expect("no chain is the default");
		assert!(
			none.contains("--dev") && none.contains("--chain local"),
			"{none}"
		);
		let staging = chain_spec::load("staging")
			.expect("the name is known")
			.err()
			.expect("the preset alone does not start");
		assert!(staging.contains("staging-spec --keys"), "{staging}");
	}
}
