//! Drives observers of closed checks without rounds and committees.

use kaisar_primitives::{ClosedCheck, Closing, OnClosed, OperatorId, Outcome, Proved, WorkerId};

/// A closing for observers that only look at the time and the seats.
const CLOSING: Closing = Closing {
	round: 0,
	round_start: 0,
	outcome: Outcome::Offline,
	verify_only: false,
	false_proof: false,
	max_gap: 0,
};

/// Closes a check of `worker` that proved this time, with no seats to pay.
pub fn close_with_time<O: OnClosed>(worker: WorkerId, proved: &Proved) {
	O::on_closed(&ClosedCheck {
		worker,
		order: None,
		closing: &CLOSING,
		proved: *proved,
		seats: &[],
	});
}

/// Closes a check that proved no time and in which `operator` had a seat, which earns or not.
pub fn close_with_seat<O: OnClosed>(operator: OperatorId, correct: bool) {
	O::on_closed(&ClosedCheck {
		worker: 0,
		order: None,
		closing: &CLOSING,
		proved: Proved::default(),
		seats: &[(operator, correct)],
	});
}
