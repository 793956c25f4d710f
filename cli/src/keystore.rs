//! The wallet file: polkadot.js's encrypted JSON, version 3, so that an account can move between this
//! program and browser extensions in both directions.
//!
//! scrypt stretches the password. The encrypted part (XSalsa20-Poly1305) is the 64-byte secret of the
//! sr25519 pair in its ed25519 form, between two headers, and the public key. The address is in clear, so
//! that reading a balance needs no password.

use crate::failure::{Failure, Result};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use crypto_secretbox::{
	Key, KeyInit, Nonce, XSalsa20Poly1305,
	aead::{Aead, generic_array::GenericArray},
};
use rand::TryRngCore;
use serde::{Deserialize, Serialize};
use sp_core::{
	Pair,
	crypto::{AccountId32, Ss58Codec},
	sr25519,
};
use std::{
	fs,
	path::Path,
	time::{SystemTime, UNIX_EPOCH},
};

const VERSION: &str = "3";
const CONTENT: [&str; 2] = ["pkcs8", "sr25519"];
const ENCRYPTION: [&str; 2] = ["scrypt", "xsalsa20-poly1305"];
/// Bytes before the secret.
const HEADER: [u8; 16] = [48, 83, 2, 1, 1, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
/// Bytes between the secret and the public key.
const DIVIDER: [u8; 5] = [161, 35, 3, 33, 0];
const SALT: usize = 32;
const NONCE: usize = 24;
const SECRET: usize = 64;
const PUBLIC: usize = 32;
/// Length in bytes of the part before the encrypted one: the salt, three parameters, the nonce.
const FRONT: usize = SALT + 3 * 4 + NONCE;
/// Maximum length of a file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Parameters of scrypt that a file may name, as (log₂ N, p), with r = 8: those of polkadot.js. Others
/// could exhaust the memory.
const ALLOWED: [(u8, u32); 6] = [(13, 10), (14, 5), (15, 3), (15, 1), (16, 2), (17, 1)];
const R: u32 = 8;
/// Parameters of new files: 128 MiB and, on a usual machine, less than a second.
const STRENGTH: (u8, u32) = (17, 1);

/// A wallet file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keystore {
	encoded: String,
	encoding: Encoding,
	address: String,
	#[serde(default)]
	meta: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Encoding {
	content: Vec<String>,
	r#type: Vec<String>,
	version: String,
}

impl Keystore {
	/// Encrypts a pair.
	pub fn encrypt(pair: &sr25519::Pair, password: &str, name: &str) -> Result<Self> {
		let mut random = [0; SALT + NONCE];
		rand::rngs::OsRng
			.try_fill_bytes(&mut random)
			.map_err(|error| {
				Failure::wallet(format!("the system gives no random numbers: {error}"))
			})?;
		let (salt, nonce) = random.split_at(SALT);
		let (log_n, p) = STRENGTH;

		let secret = schnorrkel::SecretKey::from_bytes(&pair.to_raw_vec())
			.map_err(|error| Failure::wallet(format!("the key is not valid: {error}")))?;
		let mut plain = Vec::with_capacity(HEADER.len() + SECRET + DIVIDER.len() + PUBLIC);
		plain.extend_from_slice(&HEADER);
		plain.extend_from_slice(&secret.to_ed25519_bytes());
		plain.extend_from_slice(&DIVIDER);
		plain.extend_from_slice(pair.public().as_ref());

		let sealed = XSalsa20Poly1305::new(&stretch(password, salt, log_n, p)?)
			.encrypt(Nonce::from_slice(nonce), plain.as_slice())
			.map_err(|_| Failure::wallet("the key cannot be encrypted"))?;
		let mut bytes = Vec::with_capacity(FRONT + sealed.len());
		bytes.extend_from_slice(salt);
		for parameter in [1u32 << log_n, p, R] {
			bytes.extend_from_slice(&parameter.to_le_bytes());
		}
		bytes.extend_from_slice(nonce);
		bytes.extend_from_slice(&sealed);

		let now = SystemTime::now()
			.duration_since(UNIX_EPOCH)
			.map_or(0, |time| time.as_millis() as u64);
		let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
		Ok(Self {
			encoded: BASE64.encode(bytes),
			encoding: Encoding {
				content: strings(&CONTENT),
				r#type: strings(&ENCRYPTION),
				version: VERSION.into(),
			},
			address: AccountId32::from(pair.public()).to_ss58check(),
			meta: [
				("name".to_owned(), name.into()),
				("whenCreated".to_owned(), now.into()),
			]
			.into_iter()
			.collect(),
		})
	}

	/// Decrypts the pair.
	pub fn decrypt(&self, password: &str) -> Result<sr25519::Pair> {
		let holds = |list: &[String], wanted: &[&str]| {
			wanted
				.iter()
				.all(|name| list.iter().any(|known| known == name))
		};
		let known = self.encoding.version == VERSION
			&& holds(&self.encoding.content, &CONTENT)
			&& holds(&self.encoding.r#type, &ENCRYPTION);
		if !known {
			return Err(Failure::wallet(
				"the wallet file is not an encrypted sr25519 account of polkadot.js, version 3",
			)
			.advise("export the account again as a JSON file, or import its recovery phrase"));
		}
		let damaged = || {
			Failure::wallet("the wallet file is damaged")
				.advise("restore it from its recovery phrase with `kaisar import-wallet`")
		};
		let bytes = BASE64.decode(&self.encoded).map_err(|_| damaged())?;
		let (front, sealed) = bytes.split_at_checked(FRONT).ok_or_else(damaged)?;
		let (salt, rest) = front.split_at(SALT);
		let (parameters, nonce) = rest.split_at(3 * 4);
		let parameter = |i: usize| {
			let mut bytes = [0; 4];
			bytes.copy_from_slice(&parameters[4 * i..4 * i + 4]);
			u32::from_le_bytes(bytes)
		};
		let (n, p, r) = (parameter(0), parameter(1), parameter(2));
		let (log_n, p) = ALLOWED
			.into_iter()
			.find(|(log_n, allowed)| n == 1 << log_n && p == *allowed && r == R)
			.ok_or_else(|| {
				Failure::wallet(format!(
					"the wallet file names scrypt with N = {n}, p = {p}, r = {r}, which polkadot.js does not allow"
				))
				.advise("export the account again, or import its recovery phrase")
			})?;

		let plain = XSalsa20Poly1305::new(&stretch(password, salt, log_n, p)?)
			.decrypt(Nonce::from_slice(nonce), sealed)
			.map_err(|_| {
				Failure::wallet("the password is wrong, or the wallet file is damaged").advise(
					"try again, or restore it from its recovery phrase with `kaisar import-wallet`",
				)
			})?;
		let secret = plain
			.strip_prefix(&HEADER[..])
			.and_then(|rest| rest.split_at_checked(SECRET))
			.and_then(|(secret, rest)| {
				let public = rest.strip_prefix(&DIVIDER[..])?;
				let secret = schnorrkel::SecretKey::from_ed25519_bytes(secret).ok()?;
				(secret.to_public().to_bytes() == public).then_some(secret)
			})
			.ok_or_else(damaged)?;
		let pair = sr25519::Pair::from(secret);
		if self.account()? != AccountId32::from(pair.public()) {
			return Err(Failure::wallet(
				"the wallet file names another address than that of its key",
			)
			.advise("restore it from its recovery phrase with `kaisar import-wallet`"));
		}
		Ok(pair)
	}

	/// Returns the account by the file's address in clear, which is not authenticated: use it for
	/// reading only.
	pub fn account(&self) -> Result<AccountId32> {
		AccountId32::from_ss58check_with_version(&self.address)
			.map(|(account, _)| account)
			.map_err(|_| Failure::wallet("the wallet file has no valid address"))
	}

	/// Reads a wallet file.
	pub fn read(path: &Path) -> Result<Self> {
		let text = read_text(path)?;
		serde_json::from_str(&text).map_err(|error| {
			Failure::wallet(format!("{} is not a wallet file: {error}", path.display()))
				.advise("name the wallet file with --wallet FILE")
		})
	}

	/// Writes a wallet file that only its owner can read. Never overwrites an existing file.
	pub fn write(&self, path: &Path) -> Result<()> {
		let text = serde_json::to_string_pretty(self).map_err(|error| {
			Failure::wallet(format!("cannot format the wallet as JSON: {error}"))
		})?;
		write_new(path, &text)
	}
}

/// Derives the encryption key from a password.
fn stretch(password: &str, salt: &[u8], log_n: u8, p: u32) -> Result<Key> {
	let cannot = |error: &dyn std::fmt::Display| Failure::wallet(format!("scrypt failed: {error}"));
	let mut key = [0; 32];
	let parameters = scrypt::Params::new(log_n, R, p, key.len()).map_err(|error| cannot(&error))?;
	scrypt::scrypt(password.as_bytes(), salt, &parameters, &mut key)
		.map_err(|error| cannot(&error))?;
	Ok(GenericArray::from(key))
}

/// Reads the text of a small file.
pub fn read_text(path: &Path) -> Result<String> {
	use std::io::Read;
	let cannot = |error| Failure::wallet(format!("cannot read {}: {error}", path.display()));
	let mut text = String::new();
	let read = fs::File::open(path)
		.map_err(cannot)?
		.take(MAX_FILE + 1)
		.read_to_string(&mut text)
		.map_err(cannot)?;
	if read as u64 > MAX_FILE {
		return Err(Failure::wallet(format!(
			"{} is longer than {} KiB",
			path.display(),
			MAX_FILE / 1024
		))
		.advise("name another file"));
	}
	Ok(text)
}

/// Writes a secret to a new file that only its owner can read.
pub fn write_new(path: &Path, text: &str) -> Result<()> {
	let cannot = |error: std::io::Error| {
		let failure = Failure::wallet(format!("cannot write {}: {error}", path.display()));
		if error.kind() == std::io::ErrorKind::AlreadyExists {
			failure.advise("nothing was overwritten; name another file")
		} else {
			failure
		}
	};
	if let Some(folder) = path
		.parent()
		.filter(|folder| !folder.as_os_str().is_empty())
	{
		fs::create_dir_all(folder).map_err(cannot)?;
	}
	let line = format!("{text}\n");
	kaisar_fs::write_new(path, line.as_bytes(), kaisar_fs::OWNER_ONLY).map_err(cannot)
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::failure::Kind;
	use std::os::unix::fs::PermissionsExt;

	const PASSWORD: &str = "correct horse ½ battery";

	fn pair() -> sr25519::Pair {
		sr25519::Pair::from_string("//Alice", None).expect("it is a key")
	}

	#[test]
	fn a_wallet_comes_back_whole_and_only_with_its_password() {
		let keystore = Keystore::encrypt(&pair(), PASSWORD, "a wallet").expect("it is encrypted");
		let back = keystore.decrypt(PASSWORD).expect("it is decrypted");
		assert_eq!(back.to_raw_vec(), pair().to_raw_vec());
		assert_eq!(
			keystore.account().expect("it has an address"),
			AccountId32::from(pair().public())
		);

		for wrong in ["", "correct horse 1/2 battery", "correct horse ½ battery "] {
			let failure = keystore
				.decrypt(wrong)
				.err()
				.expect("it is another password");
			assert_eq!(failure.kind, Kind::Wallet);
			assert!(failure.message.contains("password"), "{failure}");
		}
		let again = Keystore::encrypt(&pair(), PASSWORD, "a wallet").expect("it is encrypted");
		assert_ne!(keystore.encoded, again.encoded, "the salt is new each time");
	}

	/// Another implementation reads this one's files.
	#[test]
	fn subxt_signer_reads_it() {
		let keystore = Keystore::encrypt(&pair(), PASSWORD, "a wallet").expect("it is encrypted");
		let json = serde_json::to_string(&keystore).expect("it is JSON");
		let theirs =
			subxt_signer::polkadot_js_compat::decrypt_json(&json, PASSWORD).expect("they read it");
		assert_eq!(theirs.public_key().0, pair().public().0);
	}

	/// Made by @polkadot/keyring 14.0.3: `addFromUri('//Alice', { name: 'Alice' })`, password
	/// "whoisalice".
	const POLKADOT_JS: &str = include_str!("../tests/polkadot-js.json");

	#[test]
	fn a_file_of_polkadot_js_is_read() {
		let keystore: Keystore = serde_json::from_str(POLKADOT_JS).expect("it is a wallet");
		let theirs = keystore.decrypt("whoisalice").expect("it is decrypted");
		assert_eq!(theirs.public(), pair().public());
		assert_eq!(theirs.to_raw_vec(), pair().to_raw_vec());
		assert!(keystore.decrypt("whoisbob").is_err());
	}

	#[test]
	fn a_damaged_file_is_refused() {
		let good: Keystore = serde_json::from_str(POLKADOT_JS).expect("it is a wallet");
		let change = |change: &dyn Fn(&mut Keystore)| {
			let mut bad = good.clone();
			change(&mut bad);
			bad.decrypt("whoisalice").err().expect("it is damaged")
		};
		let bytes = BASE64.decode(&good.encoded).expect("it is base64");
		let with = |place: usize, value: u8| {
			let mut bytes = bytes.clone();
			bytes[place] = value;
			BASE64.encode(bytes)
		};

		change(&|file| file.encoding.version = "2".into());
		change(&|file| file.encoding.r#type = vec!["none".into()]);
		change(&|file| file.encoding.content = vec!["pkcs8".into(), "ed25519".into()]);
		change(&|file| file.encoded = "not base64!".into());
		change(&|file| file.encoded.clear());
		change(&|file| file.encoded = BASE64.encode(&bytes[..FRONT - 1]));
		change(&|file| file.encoded = BASE64.encode(&bytes[..bytes.len() - 1]));
		change(&|file| file.encoded = with(bytes.len() - 1, !bytes[bytes.len() - 1]));
		// N = 2³¹: refused before anything is computed.
		let failure = change(&|file| file.encoded = with(SALT + 3, 0x80));
		assert!(failure.message.contains("scrypt"), "{failure}");
		// Another account's address in clear.
		let failure = change(&|file| {
			file.address = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty".into();
		});
		assert!(failure.message.contains("another address"), "{failure}");
	}

	#[test]
	fn a_file_is_private_and_never_overwritten() {
		let folder = tempfile::tempdir().expect("there is room");
		let path = folder.path().join("deep/wallet.json");
		write_new(&path, "first").expect("it is written");
		let mode = fs::metadata(&path)
			.expect("it is there")
			.permissions()
			.mode();
		assert_eq!(mode & 0o777, 0o600);

		let failure = write_new(&path, "second").expect_err("it is there already");
		assert_eq!(failure.kind, Kind::Wallet);
		assert_eq!(read_text(&path).expect("it is there"), "first\n");
	}

	#[test]
	fn a_file_that_is_too_long_is_not_read() {
		let folder = tempfile::tempdir().expect("there is room");
		let path = folder.path().join("long");
		fs::write(&path, vec![b'x'; MAX_FILE as usize + 1]).expect("it is written");
		assert!(read_text(&path).is_err());
		fs::write(&path, vec![b'x'; MAX_FILE as usize]).expect("it is written");
		assert!(read_text(&path).is_ok());
	}
}
