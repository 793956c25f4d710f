//! The regions that a worker may claim: ISO 3166-1 alpha-2 country codes, as officially assigned.

/// All codes, in one string, sorted.
const CODES: &[u8] = b"ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSYEYTZAZMZW";

/// Returns whether `region` is an officially assigned code.
pub fn is_known(region: [u8; 2]) -> bool {
	let (codes, _) = CODES.as_chunks::<2>();
	codes.binary_search(&region).is_ok()
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn the_list_is_sorted_and_complete() {
		let (codes, rest) = CODES.as_chunks::<2>();
		assert!(rest.is_empty());
		assert_eq!(codes.len(), 249);
		assert!(codes.windows(2).all(|pair| pair[0] < pair[1]));
		assert!(codes.iter().flatten().all(u8::is_ascii_uppercase));
	}

	#[test]
	fn knows_codes_and_not_any_two_letters() {
		for known in [b"DE", b"US", b"CH", b"AD", b"ZW"] {
			assert!(is_known(*known));
		}
		for unknown in [b"XX", b"de", b"UK", b"EU", b"\0\0", b"ZZ", b"AA"] {
			assert!(!is_known(*unknown));
		}
	}
}
