//! Failures: a message, advice, and an exit code for scripts.

use serde::Serialize;
use std::{fmt, process::ExitCode};

/// Result of this program's functions.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Kind of a failure. Each has an exit code of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
	/// The command line or the piped input is invalid.
	Usage,
	/// The node or the agent cannot be reached, or its version does not match this program.
	Unreachable,
	/// The chain refused the call.
	Refused,
	/// The order, worker, port or reward does not exist.
	NotFound,
	/// A timeout passed, or the order was closed meanwhile.
	Over,
	/// The wallet, a key file or a password cannot be used.
	Wallet,
}

impl Kind {
	/// Returns the exit code.
	pub fn code(self) -> u8 {
		match self {
			Self::Usage => 2,
			Self::Unreachable => 3,
			Self::Refused => 4,
			Self::NotFound => 5,
			Self::Over => 6,
			Self::Wallet => 7,
		}
	}
}

/// Reason why a command failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Failure {
	/// Kind, which determines the exit code.
	pub kind: Kind,
	/// Name of the chain's error, e.g. `Orders.PriceAboveLimit`, or the reason why an order was closed.
	#[serde(skip_serializing_if = "Option::is_none")]
	pub name: Option<String>,
	/// Number of the order that the command placed before it failed.
	#[serde(skip_serializing_if = "Option::is_none")]
	pub order: Option<u32>,
	/// Condition that made the command fail.
	pub message: String,
	/// Next step for the user.
	#[serde(skip_serializing_if = "Option::is_none")]
	pub advice: Option<String>,
}

impl Failure {
	fn new(kind: Kind, message: impl fmt::Display) -> Self {
		Self {
			kind,
			name: None,
			order: None,
			message: message.to_string(),
			advice: None,
		}
	}

	/// Reports invalid input, or a failure of this machine's own system.
	pub fn usage(message: impl fmt::Display) -> Self {
		Self::new(Kind::Usage, message)
	}

	/// Reports a node or an agent that does not respond as expected.
	pub fn unreachable(message: impl fmt::Display) -> Self {
		Self::new(Kind::Unreachable, message)
	}

	/// Reports a call that the chain refused.
	pub fn refused(name: impl Into<String>, message: impl fmt::Display) -> Self {
		Self::new(Kind::Refused, message).named(name)
	}

	/// Reports an order, worker, port or reward that does not exist.
	pub fn not_found(message: impl fmt::Display) -> Self {
		Self::new(Kind::NotFound, message)
	}

	/// Reports a timeout or an order that ended.
	pub fn over(message: impl fmt::Display) -> Self {
		Self::new(Kind::Over, message)
	}

	/// Reports a wallet, a key file or a password that cannot be used.
	pub fn wallet(message: impl fmt::Display) -> Self {
		Self::new(Kind::Wallet, message)
	}

	/// Sets the name of the chain's error or reason.
	pub fn named(mut self, name: impl Into<String>) -> Self {
		self.name = Some(name.into());
		self
	}

	/// Sets the order that the command placed.
	pub fn of_order(mut self, order: u32) -> Self {
		self.order = Some(order);
		self
	}

	/// Sets the next step for the user.
	pub fn advise(mut self, advice: impl fmt::Display) -> Self {
		self.advice = Some(advice.to_string());
		self
	}

	/// Prints the failure to standard error, as one line or as one JSON document, and returns the exit code.
	pub fn tell(&self, json: bool) -> ExitCode {
		if json {
			eprintln!("{}", serde_json::json!({ "error": self }));
		} else {
			eprintln!("error: {self}");
		}
		ExitCode::from(self.kind.code())
	}
}

impl fmt::Display for Failure {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		// Texts from a node or a file may have several lines.
		let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
		if let Some(name) = &self.name {
			write!(f, "{}: ", line(name))?;
		}
		write!(f, "{}", line(&self.message))?;
		if let Some(advice) = &self.advice {
			write!(f, " ({})", line(advice))?;
		}
		Ok(())
	}
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_failure_is_one_line_with_its_name_and_advice() {
		let failure = Failure::refused("Orders.PriceAboveLimit", "The price\n is above the limit.")
			.advise("ask for a quote");
		assert_eq!(
			failure.to_string(),
			"Orders.PriceAboveLimit: The price is above the limit. (ask for a quote)"
		);
		assert_eq!(
			serde_json::json!(failure),
			serde_json::json!({
				"kind": "refused",
				"name": "Orders.PriceAboveLimit",
				"message": "The price\n is above the limit.",
				"advice": "ask for a quote",
			})
		);
	}

	#[test]
	fn each_kind_has_a_code_of_its_own() {
		let kinds = [
			Kind::Usage,
			Kind::Unreachable,
			Kind::Refused,
			Kind::NotFound,
			Kind::Over,
			Kind::Wallet,
		];
		assert_eq!(kinds.map(Kind::code), [2, 3, 4, 5, 6, 7]);
	}
}
