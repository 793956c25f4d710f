//! Commands that create, import and show wallets.

use super::Context;
use crate::{
	failure::{Failure, Result},
	keystore::Keystore,
	output::Facts,
	types::Key,
	wallet::{self, Wallet},
};
use serde_json::json;
use std::path::Path;

/// Creates a wallet. The phrase goes to standard error only, so that a script that stores the output does
/// not store it too.
pub fn create(context: &Context, name: &str) -> Result<()> {
	let path = free_path(context)?;
	let password = wallet::new_password(&context.common.wallet)?;
	let (wallet, phrase) = Wallet::generate();
	Keystore::encrypt(wallet.pair(), &password, name)?.write(&path)?;
	eprintln!(
		"This recovery phrase restores the wallet if its file or its password is lost. It is shown only now.\n\
		 Write it down and keep it secret:\n\n    {phrase}\n"
	);
	show(context, &path, &wallet.account().to_string())
}

/// Creates a wallet file from a phrase, a seed or an exported file.
pub fn import(context: &Context, name: &str, from: Option<&Path>) -> Result<()> {
	let path = free_path(context)?;
	if let Some(from) = from {
		let keystore = Keystore::read(from)?;
		// Decrypt it now: a wrong password must not show up later, when the wallet is needed.
		let question = format!("Password of {}: ", from.display());
		keystore.decrypt(&wallet::password(&context.common.wallet, &question)?)?;
		keystore.write(&path)?;
		return show(context, &path, &keystore.account()?.to_string());
	}
	let wallet = match &context.common.wallet.suri {
		Some(suri) => Wallet::from_suri(suri)?,
		None => Wallet::from_suri(&wallet::read_secret("Recovery phrase or seed: ")?)?,
	};
	let password = wallet::new_password(&context.common.wallet)?;
	Keystore::encrypt(wallet.pair(), &password, name)?.write(&path)?;
	show(context, &path, &wallet.account().to_string())
}

/// Shows the wallet's address and keys.
pub fn address(context: &Context) -> Result<()> {
	let wallet = context.wallet()?;
	let client = Key(wallet::client_key(&wallet.client_secret()).0);
	let (address, public) = (wallet.account().to_string(), Key(wallet.account().0));
	context.output.show(
		&json!({ "address": address, "public_key": public, "client_key": client }),
		|| {
			Facts::default()
				.add("Address", &address)
				.add("Public key", public)
				.add("Client key", client)
				.text()
		},
	)
}

/// Returns the path of a new wallet file. Fails if it exists, before any question is asked.
fn free_path(context: &Context) -> Result<std::path::PathBuf> {
	let path = wallet::path(&context.common.wallet)?;
	if path.exists() {
		return Err(
			Failure::wallet(format!("{} already exists", path.display()))
				.advise("nothing was overwritten; name another file with --wallet"),
		);
	}
	Ok(path)
}

fn show(context: &Context, path: &Path, address: &str) -> Result<()> {
	context.output.show(
		&json!({ "address": address, "file": path.display().to_string() }),
		|| {
			Facts::default()
				.add("Address", address)
				.add("Wallet", path.display())
				.text()
		},
	)
}
