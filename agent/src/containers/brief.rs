//! Sanitizes messages of other programs.

/// Maximum length of a message, in bytes.
const MAX_MESSAGE: usize = 256;

/// Makes another program's text printable and cuts it to [`MAX_MESSAGE`] bytes.
pub(super) fn brief(text: &str) -> String {
	let mut short = String::new();
	for symbol in text.trim().chars() {
		let symbol = if symbol.is_control() { ' ' } else { symbol };
		if short.len() + symbol.len_utf8() > MAX_MESSAGE {
			break;
		}
		short.push(symbol);
	}
	short
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn messages_are_cut_between_letters_and_hold_no_controls() {
		assert_eq!(brief(" a\nb\u{1b}[31m "), "a b [31m");
		let long = brief(&"ü".repeat(200));
		assert_eq!((long.len(), long.chars().count()), (256, 128));
		assert_eq!(brief(&format!("a{}", "ü".repeat(200))).len(), 255);
	}
}
