//! The openings that a checker gets for one GPU of the full size.

use crate::made;
use kaisar_agent::trial::sample::{Kind, Reject};

/// Bytes of openings that a checker takes from one GPU.
const LIMIT: usize = 6 << 20;

#[test]
fn openings_of_the_full_size_stay_below_their_limit() {
	let made = made::make();
	println!("{} bytes", made.shown.len());
	assert!(made.shown.len() < LIMIT * 3 / 4, "{}", made.shown.len());
	let marks = made.verify(&made.shown).unwrap();
	assert_eq!(marks.len(), usize::from(made::SIZE.marks()));
	let mut bad = made.shown.clone();
	// The last byte is a hash of the last line that a walk read.
	*bad.last_mut().unwrap() ^= 1;
	assert_eq!(made.verify(&bad), Err(Reject::Place(Kind::Walk)));
	let mut bad = made.shown.clone();
	bad[40] ^= 1;
	assert_eq!(made.verify(&bad), Err(Reject::Root));
}
