//! The rules by which an agent checks others, in one place: the challenge, the verification of openings, and
//! the judgment. Every agent uses those of the protocol. Tests replace them with weaker ones to show which
//! rule detects an attack.

use crate::trial::{
	hash::{Hash, key},
	job::Job,
	judge::Rates,
	part::Resource,
	proof::{self, Challenge, Roots},
	sample::Reject,
	verdict::{self, Arrivals, Proved},
};
use kaisar_primitives::Verdict;
use sp_core::{H256, ed25519};
use std::fmt;

/// Returns the secret that the agent with this key pair derives its challenges from.
pub fn secret_of(pair: &ed25519::Pair) -> Hash {
	key("checker secret", &[&pair.seed()])
}

/// A worker's trial under its attested root.
#[derive(Clone, Debug)]
pub struct Attested {
	/// The worker's job.
	pub job: Job,
	/// The seed of its trial.
	pub trial_seed: H256,
	/// The attested root.
	pub root: Hash,
	/// The roots under it.
	pub roots: Roots,
}

/// Rules of a checker. The default of each function is the protocol's rule.
pub trait Rules: Send + Sync {
	/// Returns the challenge of a check. `tries` counts the connections of this check before.
	fn challenge(&self, secret: &Hash, root: &Hash, open_seed: H256, tries: u32) -> Challenge {
		// A worker that refuses a challenge gets the same one again.
		let _ = tries;
		Challenge::new(secret, root, open_seed)
	}

	/// Verifies openings of a resource. Returns the marks of GPUs.
	fn verify(
		&self,
		attested: &Attested,
		resource: Resource,
		challenge: &Challenge,
		openings: &[u8],
	) -> Result<Vec<Hash>, Reject> {
		proof::verify(
			&attested.job,
			&attested.trial_seed,
			&attested.root,
			&attested.roots,
			resource,
			challenge,
			openings,
		)
	}

	/// Returns the verdict on a worker that served its check, with remarks ([`verdict::judge`]).
	fn judge(
		&self,
		job: &Job,
		roots: &Roots,
		proved: &Proved,
		arrivals: &Arrivals,
		rates: Option<Rates>,
		full: bool,
	) -> (Verdict, Vec<String>) {
		verdict::judge(job, roots, proved, arrivals, rates, full)
	}
}

/// The rules of the protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protocol;

impl Rules for Protocol {}

impl fmt::Debug for dyn Rules {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		f.write_str("rules")
	}
}
