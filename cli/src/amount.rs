//! Amounts of KAI and shares: conversions between decimals and the chain's integers, always exact.

use crate::wrapper;
use kaisar_primitives::{Balance, KAI};
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};
use subxt::ext::scale_encode::EncodeAsType;

/// Number of decimals of a KAI.
const DECIMALS: usize = 18;
/// Number of decimals of a share.
const SHARE_DECIMALS: usize = 9;

/// An amount in units of 10⁻¹⁸ KAI.
///
/// Parsed and displayed as a decimal of KAI (`12.5`); in JSON it is a string that counts units, so that no
/// program rounds it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct Kai(pub Balance);

impl FromStr for Kai {
	type Err = String;

	fn from_str(text: &str) -> Result<Self, String> {
		let (whole, fraction) = decimal(text, DECIMALS)?;
		whole
			.checked_mul(KAI)
			.and_then(|units| units.checked_add(fraction))
			.map(Self)
			.ok_or_else(|| format!("more than the largest amount, {} KAI", Self(Balance::MAX)))
	}
}

impl fmt::Display for Kai {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		f.pad(&undecimal(self.0 / KAI, self.0 % KAI, DECIMALS))
	}
}

impl fmt::Debug for Kai {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		write!(f, "{self} KAI")
	}
}

impl Serialize for Kai {
	fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
		serializer.collect_str(&self.0)
	}
}

/// A share in billionths. In JSON it is a decimal string: `"0.05"`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct Share(pub u32);

impl Share {
	/// The whole.
	const ONE: u32 = 1_000_000_000;

	/// Parses a percentage: `5`, `12.5`, `12.5%`.
	pub fn from_percent(text: &str) -> Result<Self, String> {
		let (whole, fraction) =
			decimal(text.strip_suffix('%').unwrap_or(text), SHARE_DECIMALS - 2)?;
		u32::try_from(whole)
			.ok()
			.and_then(|whole| whole.checked_mul(Self::ONE / 100))
			.and_then(|parts| parts.checked_add(u32::try_from(fraction).ok()?))
			.filter(|parts| *parts <= Self::ONE)
			.map(Self)
			.ok_or_else(|| "a percentage is at most 100".into())
	}

	/// Returns this share of an amount, rounded up; `None` on overflow.
	pub fn of_up(self, amount: Kai) -> Option<Kai> {
		let one = Balance::from(Self::ONE);
		let (whole, rest) = (amount.0 / one, amount.0 % one);
		let parts = Balance::from(self.0);
		Some(Kai(whole
			.checked_mul(parts)?
			.checked_add((rest * parts).div_ceil(one))?))
	}
}

impl fmt::Display for Share {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		let percent = Self::ONE / 100;
		let (whole, fraction) = (self.0 / percent, self.0 % percent);
		let text = undecimal(whole.into(), fraction.into(), SHARE_DECIMALS - 2);
		f.pad(&format!("{text} %"))
	}
}

impl fmt::Debug for Share {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		write!(f, "{self}")
	}
}

impl Serialize for Share {
	fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
		let (whole, fraction) = (self.0 / Self::ONE, self.0 % Self::ONE);
		serializer.serialize_str(&undecimal(whole.into(), fraction.into(), SHARE_DECIMALS))
	}
}

wrapper!(Kai, Balance);
wrapper!(Share, u32);

/// Parses a decimal into its whole part, and its fraction in units of the last of `decimals` digits.
fn decimal(text: &str, decimals: usize) -> Result<(u128, u128), String> {
	let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
	let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
	if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 {
		return Err("expected a decimal number, e.g. 650 or 12.5".into());
	}
	if fraction.len() > decimals {
		return Err(format!(
			"more than {decimals} digits after the decimal point"
		));
	}
	let number = |text: &str| match text {
		"" => Ok(0),
		text => text
			.parse::<u128>()
			.map_err(|_| "the number is too large".to_owned()),
	};
	let scale = 10u128.pow((decimals - fraction.len()) as u32);
	Ok((number(whole)?, number(fraction)? * scale))
}

/// Formats a decimal without trailing zeros.
fn undecimal(whole: u128, fraction: u128, decimals: usize) -> String {
	if fraction == 0 {
		return whole.to_string();
	}
	let fraction = format!("{fraction:0decimals$}");
	format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn amounts_are_read_to_the_unit() {
		for (text, units) in [
			("0", 0),
			("650", 650 * KAI),
			("12.5", 12 * KAI + KAI / 2),
			(".5", KAI / 2),
			("1.", KAI),
			("007", 7 * KAI),
			("0.000000000000000001", 1),
			("340282366920938463463.374607431768211455", u128::MAX),
		] {
			assert_eq!(text.parse(), Ok(Kai(units)), "{text}");
		}
	}

	#[test]
	fn texts_that_are_not_amounts_are_refused() {
		for text in [
			"",
			".",
			"-1",
			"+1",
			"1e3",
			"1,5",
			"1.2.3",
			" 1",
			"1 ",
			"½",
			"١",
			"0x10",
			"1_000",
			"NaN",
			"0.0000000000000000001",
			"340282366920938463463.374607431768211456",
			"999999999999999999999999999999999999999999",
		] {
			assert!(text.parse::<Kai>().is_err(), "{text:?}");
		}
	}

	#[test]
	fn amounts_are_written_as_they_are_read() {
		for units in [
			0,
			1,
			10,
			KAI - 1,
			KAI,
			KAI + 1,
			12 * KAI + KAI / 2,
			u128::MAX,
		] {
			let text = Kai(units).to_string();
			assert_eq!(text.parse(), Ok(Kai(units)), "{text}");
		}
		assert_eq!(Kai(12 * KAI + KAI / 2).to_string(), "12.5");
		assert_eq!(format!("{:>6}", Kai(KAI)), "     1");
		let json = serde_json::to_string(&Kai(u128::MAX)).expect("it is a string");
		assert_eq!(json, "\"340282366920938463463374607431768211455\"");
	}

	#[test]
	fn shares_are_percentages_for_people_and_decimals_for_programs() {
		assert_eq!(Share::from_percent("5"), Ok(Share(50_000_000)));
		assert_eq!(Share::from_percent("12.5%"), Ok(Share(125_000_000)));
		assert_eq!(Share::from_percent("100"), Ok(Share(Share::ONE)));
		for text in ["100.0000001", "101", "", "-1", "5000000000"] {
			assert!(Share::from_percent(text).is_err(), "{text:?}");
		}
		assert_eq!(Share(125_000_000).to_string(), "12.5 %");
		assert_eq!(
			serde_json::to_string(&Share(50_000_000)).expect("it is a string"),
			"\"0.05\""
		);
	}

	#[test]
	fn a_share_of_an_amount_is_rounded_up_and_does_not_overflow() {
		assert_eq!(Share(50_000_000).of_up(Kai(100)), Some(Kai(5)));
		assert_eq!(Share(50_000_000).of_up(Kai(101)), Some(Kai(6)));
		assert_eq!(
			Share(Share::ONE).of_up(Kai(u128::MAX)),
			Some(Kai(u128::MAX))
		);
		assert_eq!(Share(0).of_up(Kai(u128::MAX)), Some(Kai(0)));
		assert_eq!(Share(u32::MAX).of_up(Kai(u128::MAX)), None);
	}
}
