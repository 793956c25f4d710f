//! The account that signs, wherever its key comes from.

use crate::{
	args::WalletArgs,
	config::Config,
	failure::{Failure, Result},
	keystore::{Keystore, read_text, write_new},
};
use codec::Encode;
use kaisar_primitives::ClientKey;
use sp_core::{Pair, crypto::AccountId32, ed25519, sr25519};
use sp_io::hashing::blake2_256;
use std::{
	io::{IsTerminal, Read},
	path::{Path, PathBuf},
};
use subxt::utils;

/// The environment's variable with the wallet's password.
const PASSWORD: &str = "KAISAR_PASSWORD";
/// Longest secret that is read from a pipe, in bytes.
const MAX_SECRET: u64 = 4 * 1024;

/// An account with its key.
pub struct Wallet {
	pair: sr25519::Pair,
}

impl Wallet {
	/// The wallet that the command line names: `--suri`, else the file.
	pub fn open(args: &WalletArgs) -> Result<Self> {
		if let Some(suri) = &args.suri {
			return Self::from_suri(suri);
		}
		let path = path(args)?;
		let keystore = file(&path)?;
		let password = password(args, &format!("Password of {}: ", path.display()))?;
		Ok(Self {
			pair: keystore.decrypt(&password)?,
		})
	}

	/// The account of the wallet that the command line names; no password is needed for it.
	pub fn account_of(args: &WalletArgs) -> Result<utils::AccountId32> {
		let account = match &args.suri {
			Some(suri) => AccountId32::from(Self::from_suri(suri)?.pair.public()),
			None => file(&path(args)?)?.account()?,
		};
		Ok(utils::AccountId32(account.into()))
	}

	/// The key that a phrase, a seed in hex, or a path of the development accounts stands for.
	pub fn from_suri(suri: &str) -> Result<Self> {
		// The error would repeat no secret, but says nothing either.
		let pair = sr25519::Pair::from_string(suri, None).map_err(|_| {
			Failure::wallet("that is neither a recovery phrase nor a seed")
				.advise("12 or 24 words, 0x… of 32 bytes, or //Alice on a development chain")
		})?;
		Ok(Self { pair })
	}

	/// A new one, with the phrase that brings it back.
	pub fn generate() -> (Self, String) {
		let (pair, phrase, _) = sr25519::Pair::generate_with_phrase(None);
		(Self { pair }, phrase)
	}

	/// The account.
	pub fn account(&self) -> utils::AccountId32 {
		utils::AccountId32(self.pair.public().0)
	}

	/// The pair.
	pub fn pair(&self) -> &sr25519::Pair {
		&self.pair
	}

	/// The secret of the wallet's client key, with which it connects to its orders:
	/// `H(b"kaisar/client", secret)`.
	///
	/// It follows from the wallet, so nothing has to be kept, and another machine with the same wallet
	/// gets through too. It says nothing about the wallet's own secret.
	pub fn client_secret(&self) -> [u8; 32] {
		(b"kaisar/client", self.pair.to_raw_vec()).using_encoded(blake2_256)
	}
}

impl subxt::tx::Signer<Config> for Wallet {
	fn account_id(&self) -> utils::AccountId32 {
		self.account()
	}

	fn sign(&self, payload: &[u8]) -> utils::MultiSignature {
		utils::MultiSignature::Sr25519(self.pair.sign(payload).0)
	}
}

/// The public half of a client key.
pub fn client_key(secret: &[u8; 32]) -> ClientKey {
	ed25519::Pair::from_seed(secret).public()
}

/// The secret of a client key in a file: 32 bytes in hex.
pub fn read_client_secret(path: &Path) -> Result<[u8; 32]> {
	seed(&read_text(path)?).ok_or_else(|| {
		Failure::wallet(format!(
			"{} must hold 32 bytes in hexadecimal",
			path.display()
		))
	})
}

/// The same; a file that is not there is made, with a new secret.
pub fn read_or_make_client_secret(path: &Path) -> Result<[u8; 32]> {
	if path.exists() {
		return read_client_secret(path);
	}
	let (_, secret) = ed25519::Pair::generate();
	write_new(path, &hex::encode(secret))?;
	Ok(secret)
}

/// 32 bytes in hexadecimal, with or without `0x`.
pub fn seed(text: &str) -> Option<[u8; 32]> {
	let text = text.trim();
	let mut seed = [0; 32];
	hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut seed).ok()?;
	Some(seed)
}

/// Where the wallet file is: the one that is named, or `kaisar/wallet.json` in the user's folder for
/// configuration.
pub fn path(args: &WalletArgs) -> Result<PathBuf> {
	if let Some(path) = &args.wallet {
		return Ok(path.clone());
	}
	let absolute = |name| {
		std::env::var_os(name)
			.map(PathBuf::from)
			.filter(|path| path.is_absolute())
	};
	absolute("XDG_CONFIG_HOME")
		.or_else(|| absolute("HOME").map(|home| home.join(".config")))
		.map(|folder| folder.join("kaisar/wallet.json"))
		.ok_or_else(|| {
			Failure::wallet("there is no home folder to look for a wallet in")
				.advise("name one with --wallet FILE")
		})
}

fn file(path: &Path) -> Result<Keystore> {
	if !path.exists() {
		return Err(
			Failure::wallet(format!("there is no wallet at {}", path.display()))
				.advise("make one with `kaisar create-wallet`, or name it with --wallet FILE"),
		);
	}
	Keystore::read(path)
}

/// The password: from the file, else from the environment, else from whoever sits there.
pub fn password(args: &WalletArgs, prompt: &str) -> Result<String> {
	match told_password(args)? {
		Some(password) => Ok(password),
		None => ask(prompt).map_err(|failure| {
			failure.advise(format!(
				"give the password with --password-file or {PASSWORD}"
			))
		}),
	}
}

/// A password for a new wallet, asked for twice.
pub fn new_password(args: &WalletArgs) -> Result<String> {
	let password = match told_password(args)? {
		Some(password) => password,
		None => {
			let advise = |failure: Failure| {
				failure.advise(format!(
					"give the password with --password-file or {PASSWORD}"
				))
			};
			let password = ask("Password for the new wallet: ").map_err(advise)?;
			if ask("The same again: ").map_err(advise)? != password {
				return Err(Failure::wallet("the passwords are not the same"));
			}
			password
		}
	};
	if password.is_empty() {
		return Err(Failure::wallet("a wallet needs a password"));
	}
	Ok(password)
}

fn told_password(args: &WalletArgs) -> Result<Option<String>> {
	if let Some(path) = &args.password_file {
		let text = read_text(path)?;
		// The end of the line that an editor leaves is no part of it; spaces may be.
		let text = text.strip_suffix('\n').unwrap_or(&text);
		return Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()));
	}
	match std::env::var(PASSWORD) {
		Ok(password) => Ok(Some(password)),
		Err(std::env::VarError::NotPresent) => Ok(None),
		Err(error) => Err(Failure::wallet(format!("{PASSWORD}: {error}"))),
	}
}

/// A secret that is typed, unseen, or piped in.
pub fn read_secret(prompt: &str) -> Result<String> {
	let stdin = std::io::stdin();
	if stdin.is_terminal() {
		return ask(prompt);
	}
	let mut text = String::new();
	stdin
		.lock()
		.take(MAX_SECRET)
		.read_to_string(&mut text)
		.map_err(|error| Failure::wallet(format!("cannot read standard input: {error}")))?;
	let text = text.trim();
	if text.is_empty() {
		return Err(Failure::wallet("nothing came from standard input"));
	}
	Ok(text.to_owned())
}

fn ask(prompt: &str) -> Result<String> {
	rpassword::prompt_password(prompt)
		.map_err(|_| Failure::wallet("there is no terminal to ask at"))
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::failure::Kind;

	fn args() -> WalletArgs {
		WalletArgs::default()
	}

	#[test]
	fn the_client_key_follows_from_the_wallet_through_any_form_of_it() {
		let alice = Wallet::from_suri("//Alice").expect("it is a key");
		let secret = alice.client_secret();
		assert_eq!(
			secret,
			Wallet::from_suri("//Alice")
				.expect("it is a key")
				.client_secret()
		);
		let keystore = Keystore::encrypt(alice.pair(), "secret", "").expect("it is encrypted");
		let pair = keystore.decrypt("secret").expect("it is decrypted");
		assert_eq!(Wallet { pair }.client_secret(), secret);

		let bob = Wallet::from_suri("//Bob").expect("it is a key");
		assert_ne!(bob.client_secret(), secret);
		// It is for good: orders on chain name it.
		assert_eq!(
			hex::encode(client_key(&secret)),
			"75c2c36ec9adcef50e0a4dccd1d0ff3bc87f722d7d5481105b1959a3da4c4164"
		);
	}

	#[test]
	fn a_generated_wallet_comes_back_from_its_phrase() {
		let (wallet, phrase) = Wallet::generate();
		assert_eq!(phrase.split(' ').count(), 12);
		let again = Wallet::from_suri(&phrase).expect("it is a phrase");
		assert_eq!(wallet.account(), again.account());
		assert_ne!(Wallet::generate().1, phrase);
	}

	#[test]
	fn what_is_no_key_is_refused_without_repeating_it() {
		let failure = Wallet::from_suri("my secret words")
			.err()
			.expect("it is no key");
		assert_eq!(failure.kind, Kind::Wallet);
		assert!(!failure.to_string().contains("my secret"));
	}

	#[test]
	fn a_password_file_ends_with_its_line_and_keeps_its_spaces() {
		let folder = tempfile::tempdir().expect("there is room");
		let path = folder.path().join("password");
		for (text, password) in [
			("secret", "secret"),
			("secret\n", "secret"),
			("secret\r\n", "secret"),
			(" se cret \n", " se cret "),
			("secret\n\n", "secret\n"),
		] {
			std::fs::write(&path, text).expect("it is written");
			let args = WalletArgs {
				password_file: Some(path.clone()),
				..args()
			};
			assert_eq!(
				super::password(&args, "").as_deref(),
				Ok(password),
				"{text:?}"
			);
		}
	}

	#[test]
	fn a_client_key_file_is_made_once_and_read_again() {
		let folder = tempfile::tempdir().expect("there is room");
		let path = folder.path().join("client.key");
		assert!(read_client_secret(&path).is_err());
		let secret = read_or_make_client_secret(&path).expect("it is made");
		assert_eq!(read_or_make_client_secret(&path), Ok(secret));
		assert_eq!(read_client_secret(&path), Ok(secret));
		std::fs::write(&path, "0xabcd").expect("it is written");
		assert!(read_client_secret(&path).is_err());
	}
}
