//! The account that signs, and the sources of its key and password.

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

/// Environment variable with the wallet's password.
const PASSWORD: &str = "KAISAR_PASSWORD";
/// Maximum length of a secret read from a pipe, in bytes.
const MAX_SECRET: u64 = 4 * 1024;

/// An account with its key.
pub struct Wallet {
	pair: sr25519::Pair,
}

impl Wallet {
	/// Opens the wallet that the command line names: `--suri`, otherwise the file.
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

	/// Returns the account of the wallet that the command line names, without asking for a password.
	pub fn account_of(args: &WalletArgs) -> Result<utils::AccountId32> {
		let account = match &args.suri {
			Some(suri) => AccountId32::from(Self::from_suri(suri)?.pair.public()),
			None => file(&path(args)?)?.account()?,
		};
		Ok(utils::AccountId32(account.into()))
	}

	/// Derives the key from a phrase, a seed in hexadecimal, or a path of the development accounts.
	pub fn from_suri(suri: &str) -> Result<Self> {
		// The library's error says nothing useful.
		let pair = sr25519::Pair::from_string(suri, None).map_err(|_| {
			Failure::wallet("not a valid recovery phrase or seed").advise(
				"expected 12 or 24 words, 0x and 64 hexadecimal digits, or //Alice on a development chain",
			)
		})?;
		Ok(Self { pair })
	}

	/// Generates a wallet and its recovery phrase.
	pub fn generate() -> (Self, String) {
		let (pair, phrase, _) = sr25519::Pair::generate_with_phrase(None);
		(Self { pair }, phrase)
	}

	/// Returns the account.
	pub fn account(&self) -> utils::AccountId32 {
		utils::AccountId32(self.pair.public().0)
	}

	/// Returns the key pair.
	pub fn pair(&self) -> &sr25519::Pair {
		&self.pair
	}

	/// Returns the secret of the wallet's client key, which connects to its orders:
	/// `H(b"kaisar/client", secret)`.
	///
	/// It is derived from the wallet, so nothing needs to be stored, and another machine with the same
	/// wallet can connect too. It does not reveal the wallet's secret.
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

/// Returns the public key of a client secret.
pub fn client_key(secret: &[u8; 32]) -> ClientKey {
	ed25519::Pair::from_seed(secret).public()
}

/// Reads the secret of a client key from a file: 32 bytes in hexadecimal.
pub fn read_client_secret(path: &Path) -> Result<[u8; 32]> {
	seed(&read_text(path)?).ok_or_else(|| {
		Failure::wallet(format!(
			"{} must hold 32 bytes in hexadecimal",
			path.display()
		))
	})
}

/// Reads the secret of a client key from a file. Creates a missing file with a new secret.
pub fn read_or_make_client_secret(path: &Path) -> Result<[u8; 32]> {
	if path.exists() {
		return read_client_secret(path);
	}
	let (_, secret) = ed25519::Pair::generate();
	write_new(path, &hex::encode(secret))?;
	Ok(secret)
}

/// Parses 32 bytes in hexadecimal, with or without `0x`.
pub fn seed(text: &str) -> Option<[u8; 32]> {
	let text = text.trim();
	let mut seed = [0; 32];
	hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut seed).ok()?;
	Some(seed)
}

/// Returns the path of the wallet file: the named one, by default `kaisar/wallet.json` in the user's
/// configuration folder.
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
			Failure::wallet(
				"neither HOME nor XDG_CONFIG_HOME names a folder to look for the wallet in",
			)
			.advise("name the wallet file with --wallet FILE")
		})
}

fn file(path: &Path) -> Result<Keystore> {
	if !path.exists() {
		return Err(
			Failure::wallet(format!("there is no wallet at {}", path.display()))
				.advise("create one with `kaisar create-wallet`, or name it with --wallet FILE"),
		);
	}
	Keystore::read(path)
}

/// Returns the password: from the file, otherwise from the environment, otherwise typed at the terminal.
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

/// Returns the password for a new wallet; at the terminal it is asked for twice.
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
			if ask("Repeat the password: ").map_err(advise)? != password {
				return Err(Failure::wallet("the two passwords differ")
					.advise("no wallet was created; try again"));
			}
			password
		}
	};
	if password.is_empty() {
		return Err(Failure::wallet(
			"a wallet needs a password, and this one is empty",
		));
	}
	Ok(password)
}

fn told_password(args: &WalletArgs) -> Result<Option<String>> {
	if let Some(path) = &args.password_file {
		let text = read_text(path)?;
		// An editor's final line break is not part of the password; spaces are.
		let text = text.strip_suffix('\n').unwrap_or(&text);
		return Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()));
	}
	match std::env::var(PASSWORD) {
		Ok(password) => Ok(Some(password)),
		Err(std::env::VarError::NotPresent) => Ok(None),
		Err(error) => Err(Failure::wallet(format!("cannot read {PASSWORD}: {error}"))),
	}
}

/// Reads a secret that is piped in, or typed at the terminal without echo.
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
		return Err(Failure::wallet("standard input is empty").advise("pipe the text in"));
	}
	Ok(text.to_owned())
}

fn ask(prompt: &str) -> Result<String> {
	rpassword::prompt_password(prompt)
		.map_err(|_| Failure::wallet("there is no terminal to ask for a secret"))
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::failure::Kind;

	fn args() -> WalletArgs {
		WalletArgs::default()
	}

	#[test]
	fn the_client_key_is_the_same_for_any_form_of_the_wallet() {
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
		// The derivation must never change: orders on the chain name the key.
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
	fn an_invalid_secret_is_refused_without_repeating_it() {
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
