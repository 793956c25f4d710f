//! The keys of a worker, read from the node's files, and their proof of possession.

use crate::{
	failure::{Failure, Result},
	keystore::read_text,
	types::{Key, KeyProof},
	wallet::seed,
};
use kaisar_primitives::keys::{KeyRole, WORKER_KEY_TYPE, possession_payload};
use sp_core::{H256, Pair, ed25519, sr25519};
use std::{
	fs,
	path::{Path, PathBuf},
};

/// The agent's key file in a chain's folder.
const AGENT_KEY: &str = "agents/provider/key";

/// The keys of a worker.
pub struct Keys {
	/// Key of the node.
	pub worker: sr25519::Pair,
	/// Key of the agent.
	pub agent: ed25519::Pair,
}

impl Keys {
	/// Reads the keys of a provider's node from its base path or its folder of a chain.
	pub fn of_node(folder: &Path, password: Option<&str>) -> Result<Self> {
		let chain = chain_folder(folder)?;
		Ok(Self {
			worker: worker_of(&chain.join("keystore"), password)?,
			agent: agent_of(&chain.join(AGENT_KEY))?,
		})
	}

	/// Returns the public keys.
	pub fn public(&self) -> (Key, Key) {
		(Key(self.worker.public().0), Key(self.agent.public().0))
	}

	/// Signs with both keys that they belong to `account`.
	pub fn proof(&self, genesis: [u8; 32], account: &[u8; 32]) -> KeyProof {
		let payload = possession_payload(KeyRole::Worker, H256(genesis), account);
		KeyProof {
			key: self.worker.sign(&payload).0.to_vec(),
			agent: self.agent.sign(&payload).0.to_vec(),
		}
	}
}

/// Derives a worker key from its phrase, seed or path.
pub fn worker_key(secret: &str, password: Option<&str>) -> Result<sr25519::Pair> {
	sr25519::Pair::from_string(secret.trim(), password).map_err(|_| not_a_secret("worker"))
}

/// Derives an agent key from its phrase, seed or path.
pub fn agent_key(secret: &str) -> Result<ed25519::Pair> {
	ed25519::Pair::from_string(secret.trim(), None).map_err(|_| not_a_secret("agent"))
}

/// Reports a secret that is not valid, without repeating it.
fn not_a_secret(owner: &str) -> Failure {
	Failure::wallet(format!(
		"the {owner} key is not a valid phrase, seed or path"
	))
	.advise(
		"expected 12 or 24 words, 0x and 64 hexadecimal digits, or //Path on a development chain",
	)
}

/// Reads the agent's key from its file: 32 bytes in hexadecimal.
pub fn agent_of(path: &Path) -> Result<ed25519::Pair> {
	seed(&read_text(path)?)
		.map(|seed| ed25519::Pair::from_seed(&seed))
		.ok_or_else(|| {
			Failure::wallet(format!(
				"{} must hold 32 bytes in hexadecimal",
				path.display()
			))
		})
}

/// Returns the path of the agent's key file in a provider's base path or in its folder of a chain.
pub fn agent_key_file(folder: &Path) -> Result<PathBuf> {
	Ok(chain_folder(folder)?.join(AGENT_KEY))
}

/// Returns the folder of the chain in a node's base path: the only one with a provider's agent.
fn chain_folder(folder: &Path) -> Result<PathBuf> {
	let is_chain = |folder: &Path| folder.join(AGENT_KEY).is_file();
	if is_chain(folder) {
		return Ok(folder.to_owned());
	}
	let mut found: Vec<PathBuf> = fs::read_dir(folder.join("chains"))
		.into_iter()
		.flatten()
		.filter_map(|entry| Some(entry.ok()?.path()))
		.filter(|path| is_chain(path))
		.collect();
	found.sort();
	match found.len() {
		1 => Ok(found.remove(0)),
		0 => Err(Failure::wallet(format!(
			"{} is not the base path of a provider's node: no chain in it has agents/provider/key",
			folder.display()
		))
		.advise("start the node once with --provider; it creates the agent's key")),
		_ => Err(Failure::wallet(format!(
			"{} has several chains: {}",
			folder.display(),
			list(&found)
		))
		.advise("name one of these with --node-dir")),
	}
}

/// Reads the only worker key in a node's keystore.
fn worker_of(keystore: &Path, password: Option<&str>) -> Result<sr25519::Pair> {
	let prefix = hex::encode(WORKER_KEY_TYPE.0);
	let mut found: Vec<PathBuf> = fs::read_dir(keystore)
		.map_err(|error| Failure::wallet(format!("cannot read {}: {error}", keystore.display())))?
		.filter_map(|entry| Some(entry.ok()?.path()))
		.filter(|path| {
			path.file_name()
				.and_then(|name| name.to_str())
				.is_some_and(|name| name.len() == prefix.len() + 64 && name.starts_with(&prefix))
		})
		.collect();
	found.sort();
	let path = match found.len() {
		1 => found.remove(0),
		0 => {
			return Err(
				Failure::wallet(format!("{} has no worker key", keystore.display())).advise(
					"`kaisar-node key insert --key-type kwrk --scheme sr25519 …` puts one there",
				),
			);
		}
		_ => {
			return Err(Failure::wallet(format!(
				"{} has several worker keys: {}",
				keystore.display(),
				list(&found)
			))
			.advise(
				"name its secret with --worker-key-file, and the agent's with --agent-key-file",
			));
		}
	};
	let secret: String = serde_json::from_str(&read_text(&path)?)
		.map_err(|_| Failure::wallet(format!("{} is not a node's key file", path.display())))?;
	let pair = worker_key(&secret, password)?;
	if path.file_name().and_then(|name| name.to_str())
		!= Some(&format!("{prefix}{}", hex::encode(pair.public())))
	{
		return Err(Failure::wallet(format!(
			"the key in {} is not the one in the file's name",
			path.display()
		))
		.advise("if the keystore has a password, give --keystore-password-file"));
	}
	Ok(pair)
}

fn list(paths: &[PathBuf]) -> String {
	paths
		.iter()
		.map(|path| path.display().to_string())
		.collect::<Vec<_>>()
		.join(", ")
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::failure::Kind;

	/// A base path as the node leaves it.
	fn node(folder: &Path, chain: &str, secrets: &[&str]) -> PathBuf {
		let chain = folder.join("chains").join(chain);
		fs::create_dir_all(chain.join("keystore")).expect("there is room");
		fs::create_dir_all(chain.join("agents/provider")).expect("there is room");
		for secret in secrets {
			let pair = sr25519::Pair::from_string(secret, None).expect("it is a key");
			let name = format!("6b77726b{}", hex::encode(pair.public()));
			fs::write(chain.join("keystore").join(name), format!("{secret:?}"))
				.expect("it is written");
		}
		// Of other types, and no keys at all.
		fs::write(chain.join("keystore/6b63686bab"), "\"//Other\"").expect("it is written");
		fs::write(chain.join("keystore/README"), "").expect("it is written");
		fs::write(chain.join("agents/provider/key"), "07".repeat(32)).expect("it is written");
		chain
	}

	#[test]
	fn a_nodes_keys_are_found_and_prove_possession() {
		let folder = tempfile::tempdir().expect("there is room");
		let chain = node(folder.path(), "kaisar_local", &["//Provider//worker"]);
		for path in [folder.path(), chain.as_path()] {
			let keys = Keys::of_node(path, None).expect("they are there");
			let expected = sr25519::Pair::from_string("//Provider//worker", None).expect("it is");
			assert_eq!(keys.worker.public(), expected.public());
			assert_eq!(
				keys.agent.public(),
				ed25519::Pair::from_seed(&[7; 32]).public()
			);

			let (genesis, account) = ([1; 32], [2; 32]);
			let proof = keys.proof(genesis, &account);
			let proof = kaisar_primitives::KeyProof {
				key: sr25519::Signature::try_from(&proof.key[..]).expect("it is one"),
				agent: ed25519::Signature::try_from(&proof.agent[..]).expect("it is one"),
			};
			let stands = |account: &[u8; 32]| {
				proof.verify(
					KeyRole::Worker,
					H256(genesis),
					account,
					&keys.worker.public().0,
					&keys.agent.public(),
				)
			};
			assert!(stands(&account));
			assert!(!stands(&[3; 32]));
		}
	}

	#[test]
	fn ambiguous_folders_are_refused() {
		let folder = tempfile::tempdir().expect("there is room");
		let refused = |what: &str| {
			let failure = Keys::of_node(folder.path(), None).err().expect(what);
			assert_eq!(failure.kind, Kind::Wallet);
			failure.to_string()
		};
		assert!(refused("no node").contains("--provider"));

		let chain = node(folder.path(), "one", &[]);
		assert!(refused("no key").contains("kwrk"));
		node(folder.path(), "one", &["//A", "//B"]);
		assert!(refused("two keys").contains("--worker-key-file"));
		node(folder.path(), "two", &["//A"]);
		assert!(refused("two chains").contains("--node-dir"));
		fs::remove_dir_all(chain).expect("it is there");
		assert!(Keys::of_node(folder.path(), None).is_ok());
		// Its keystore has a password.
		assert!(Keys::of_node(folder.path(), Some("secret")).is_err());

		fs::write(folder.path().join("chains/two/agents/provider/key"), "0x12")
			.expect("it is written");
		assert!(refused("half a key").contains("32 bytes"));
	}
}
