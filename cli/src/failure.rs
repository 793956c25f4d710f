//! What can go wrong, what to do about it, and the exit code that says so to a script.

use serde::Serialize;
use std::{fmt, process::ExitCode};

/// A result of this program's functions.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// What kind of failure it is. Each has an exit code of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
	/// The command line, or what was piped in, is not right.
	Usage,
	/// The node or the agent cannot be reached, or does not speak this program's language.
	Unreachable,
	/// The chain refused the call.
	Refused,
	/// There is no such thing on the chain.
	NotFound,
	/// It did not happen in time, or the order was closed meanwhile.
	Over,
	/// The wallet, a key file or a password.
	Wallet,
}

impl Kind {
	/// The exit code.
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

/// The end of a command that did not succeed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Failure {
	/// What kind it is.
	pub kind: Kind,
	/// The name of the chain's error, as `Orders.PriceAboveLimit`, or of the reason for which an order
	/// was closed.
	#[serde(skip_serializing_if = "Option::is_none")]
	pub name: Option<String>,
	/// The order that it is about, where the command line did not name it.
	#[serde(skip_serializing_if = "Option::is_none")]
	pub order: Option<u32>,
	/// What happened.
	pub message: String,
	/// What can be done about it.
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

	/// A mistake of the caller's.
	pub fn usage(message: impl fmt::Display) -> Self {
		Self::new(Kind::Usage, message)
	}

	/// A node or an agent that does not answer.
	pub fn unreachable(message: impl fmt::Display) -> Self {
		Self::new(Kind::Unreachable, message)
	}

	/// A call that the chain refused.
	pub fn refused(name: impl Into<String>, message: impl fmt::Display) -> Self {
		Self::new(Kind::Refused, message).named(name)
	}

	/// Something that the chain does not have.
	pub fn not_found(message: impl fmt::Display) -> Self {
		Self::new(Kind::NotFound, message)
	}

	/// Something that did not happen, and will not.
	pub fn over(message: impl fmt::Display) -> Self {
		Self::new(Kind::Over, message)
	}

	/// A wallet, a key file or a password.
	pub fn wallet(message: impl fmt::Display) -> Self {
		Self::new(Kind::Wallet, message)
	}

	/// Names it.
	pub fn named(mut self, name: impl Into<String>) -> Self {
		self.name = Some(name.into());
		self
	}

	/// Says which order it is about.
	pub fn of_order(mut self, order: u32) -> Self {
		self.order = Some(order);
		self
	}

	/// Says what can be done.
	pub fn advise(mut self, advice: impl fmt::Display) -> Self {
		self.advice = Some(advice.to_string());
		self
	}

	/// Tells it on standard error: in one line, or as one JSON document.
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
		// What a node or a file says may have several lines.
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
