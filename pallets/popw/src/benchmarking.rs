//! Benchmarks of the calls, of the pool's checks, and of the hooks. Each asserts its outcome.

use crate::{Pallet as Popw, checks::signing_payload, *};
use alloc::vec::Vec;
use frame_benchmarking::v2::*;
use frame_support::{
	pallet_prelude::{Authorize, TransactionSource},
	traits::{Get, Hooks},
};
use frame_system::{RawOrigin, pallet_prelude::BlockNumberFor};
use kaisar_primitives::{
	AgentKey, BlockNumber, CheckerKey, MAX_BATCH, OperatorId, RoundIndex, Seats, Verdict, Votes,
	WorkerId, WorkerKey, WorkerRegistry,
	authorized::{Signer, genesis},
	commitment,
	keys::{CHECKER_KEY_TYPE, WORKER_KEY_TYPE},
};
use sp_core::{H256, crypto::ByteArray, sr25519};
use sp_runtime::BoundedVec;

const ROOT: [u8; 32] = [7; 32];
const SALT: [u8; 32] = [9; 32];
const VERDICT: Verdict = Verdict {
	online: true,
	service: true,
	timed: true,
	proof: true,
	bandwidth: 4,
	cpu: 4,
	memory: 4,
	disk: 4,
	gpu_class: 0,
	gpu_count: 0,
};

fn worker_owner<T: Config>() -> T::AccountId {
	account("owner", 0, 0)
}

fn agent(n: u32) -> AgentKey {
	let mut key = [1; 32];
	key[..4].copy_from_slice(&n.to_le_bytes());
	AgentKey::from_raw(key)
}

/// Registers an operator for each seat, with a license each, and `count` workers that are due in the next
/// round. The first operator's and the first worker's keys are in the keystore.
struct Cast<T: Config> {
	operators: Vec<(OperatorId, T::AccountId)>,
	checker: sr25519::Public,
	workers: Vec<WorkerId>,
	key: sr25519::Public,
}

fn cast<T: Config>(count: u32) -> Cast<T> {
	let checker = sp_io::crypto::sr25519_generate(CHECKER_KEY_TYPE, None);
	let key = sp_io::crypto::sr25519_generate(WORKER_KEY_TYPE, None);
	let operators = (0..u32::from(T::CommitteeSize::get()))
		.map(|n| {
			let who: T::AccountId = account("operator", n, 0);
			let mut bytes = [2; 32];
			bytes[..4].copy_from_slice(&n.to_le_bytes());
			let public = if n == 0 {
				checker.into()
			} else {
				CheckerKey::from_slice(&bytes).expect("32 bytes are a key")
			};
			(T::Seats::benchmark_operator(&who, public, agent(n)), who)
		})
		.collect();
	let owner = worker_owner::<T>();
	let workers = (0..count)
		.map(|n| {
			let mut bytes = [3; 32];
			bytes[..4].copy_from_slice(&n.to_le_bytes());
			let public = if n == 0 {
				key.into()
			} else {
				WorkerKey::from_slice(&bytes).expect("32 bytes are a key")
			};
			T::Workers::benchmark_worker(&owner, public, agent(1_000 + n))
		})
		.collect();
	Cast {
		operators,
		checker,
		workers,
		key,
	}
}

fn set_block<T: Config>(number: BlockNumber) {
	frame_system::Pallet::<T>::set_block_number(number.into());
}

/// Starts the next spot round and its trial; the next block is the first of its attest part.
fn start<T: Config>() -> Round {
	let index = NextRound::<T>::get();
	let start = NextStart::<T>::get().max(1);
	set_block::<T>(start);
	Popw::<T>::on_initialize(start.into());
	Popw::<T>::on_finalize(start.into());
	let round = Rounds::<T>::get(index).expect("it was just started");
	if round.trial > start {
		set_block::<T>(round.trial);
		Popw::<T>::on_finalize(round.trial.into());
	}
	set_block::<T>(round.trial.saturating_add(1));
	Rounds::<T>::mutate(index, |round| {
		let round = round.as_mut().expect("it is there");
		// Every operator sits on every worker.
		round.min_operators = round.committee_size;
		*round
	})
}

/// Has all workers attest.
fn attest_all<T: Config>(cast: &Cast<T>, round: &Round) {
	for worker in &cast.workers {
		Popw::<T>::do_attest(Signer::Authorized, *worker, round.index, ROOT).expect("it is due");
	}
}

/// Fills in the votes of a check's other seats.
fn others_voted<T: Config>(worker: WorkerId, me: OperatorId) {
	LastChecks::<T>::mutate(worker, |last| {
		if let Some(LastCheck::Open(check)) = last {
			for seat in check
				.committee
				.iter_mut()
				.filter(|seat| seat.operator != me)
			{
				seat.vote = Some(VERDICT);
			}
		}
	});
}

fn hash_of<T: Config>(operator: OperatorId, round: RoundIndex, votes: &Votes) -> H256 {
	commitment(genesis::<T>(), round, operator, 0, votes, &SALT)
}

fn votes_of(workers: &[WorkerId]) -> Votes {
	Votes::truncate_from(workers.iter().map(|worker| (*worker, VERDICT)).collect())
}

/// Prepares a round in its reveal part: attested by all, committed to by the first operator.
fn to_reveal<T: Config>(count: u32) -> (Cast<T>, Round, Votes) {
	let cast = cast::<T>(count);
	let round = start::<T>();
	attest_all(&cast, &round);
	let votes = votes_of(&cast.workers);
	let operator = cast.operators[0].0;
	set_block::<T>(round.attest_ends().saturating_add(1));
	let hash = hash_of::<T>(operator, round.index, &votes);
	Popw::<T>::do_commit(Signer::Authorized, operator, round.index, 0, hash)
		.expect("it has a seat");
	set_block::<T>(round.commit_ends().saturating_add(1));
	(cast, round, votes)
}

fn sign(
	kind: sp_core::crypto::KeyTypeId,
	key: &sr25519::Public,
	payload: &[u8; 32],
) -> Option<sr25519::Signature> {
	sp_io::crypto::sr25519_sign(kind, key, payload)
}

#[benchmarks]
mod benchmarks {
	use super::*;

	/// Makes `d` draws, in steps of the draws of a committee where every license is active.
	#[benchmark]
	fn attest(d: Linear<1, 12>) {
		let cast = cast::<T>(1);
		let round = start::<T>();
		// All but one in `d` licenses are inactive: that many draws are allowed, and most miss.
		Rounds::<T>::mutate(round.index, |round| {
			if let Some(round) = round {
				round.minted = round.active.saturating_mul(d);
			}
		});
		let owner = worker_owner::<T>();

		#[extrinsic_call]
		_(
			RawOrigin::Signed(owner),
			cast.workers[0],
			round.index,
			ROOT,
			None,
		);

		assert!(matches!(
			LastChecks::<T>::get(cast.workers[0]),
			Some(LastCheck::Open(check)) if check.round == round.index
		));
	}

	#[benchmark]
	fn authorize_attest() -> Result<(), BenchmarkError> {
		let cast = cast::<T>(1);
		let round = start::<T>();
		let worker = cast.workers[0];
		let payload = signing_payload(
			b"kaisar/attest",
			genesis::<T>(),
			round.seed,
			(worker, round.index, ROOT),
		);
		let call = Call::<T>::attest {
			worker,
			round: round.index,
			root: ROOT,
			signature: sign(WORKER_KEY_TYPE, &cast.key, &payload),
		};
		#[block]
		{
			call.authorize(TransactionSource::External)
				.ok_or("the call can be authorized")??;
		}
		Ok(())
	}

	/// Commits to a slot with `u` older unopened commitments, by an operator that withheld others before.
	#[benchmark]
	fn commit(u: Linear<0, 1>) {
		let cast = cast::<T>(1);
		let round = start::<T>();
		attest_all(&cast, &round);
		set_block::<T>(round.attest_ends().saturating_add(1));
		let (operator, account) = cast.operators[0].clone();
		let slot = (operator, Lane::of(round.index), 0);
		let epoch = T::CurrentEpoch::get();
		Withheld::<T>::insert(operator, WithheldBatches { epoch, count: 1 });
		if let Some(old) = round.index.checked_sub(4).filter(|_| u > 0) {
			let hash = H256::zero();
			Commitments::<T>::insert(slot, Commitment { round: old, hash });
		}

		#[extrinsic_call]
		_(
			RawOrigin::Signed(account),
			operator,
			round.index,
			0,
			H256::repeat_byte(1),
			None,
		);

		assert_eq!(
			Commitments::<T>::get(slot).map(|kept| kept.round),
			Some(round.index)
		);
	}

	#[benchmark]
	fn authorize_commit() -> Result<(), BenchmarkError> {
		let cast = cast::<T>(1);
		let round = start::<T>();
		attest_all(&cast, &round);
		set_block::<T>(round.attest_ends().saturating_add(1));
		let operator = cast.operators[0].0;
		let hash = H256::repeat_byte(1);
		let payload = signing_payload(
			b"kaisar/commit",
			genesis::<T>(),
			round.seed,
			(operator, round.index, 0u16, hash),
		);
		let call = Call::<T>::commit {
			operator,
			round: round.index,
			batch: 0,
			hash,
			signature: sign(CHECKER_KEY_TYPE, &cast.checker, &payload),
		};
		#[block]
		{
			call.authorize(TransactionSource::External)
				.ok_or("the call can be authorized")??;
		}
		Ok(())
	}

	/// Reveals `v` votes, `c` of which close their checks.
	#[benchmark]
	fn reveal(v: Linear<1, MAX_BATCH>, c: Linear<0, MAX_BATCH>) {
		let (cast, round, votes) = to_reveal::<T>(v);
		let (operator, account) = cast.operators[0].clone();
		for worker in cast.workers.iter().take(c as usize) {
			others_voted::<T>(*worker, operator);
		}

		#[extrinsic_call]
		_(
			RawOrigin::Signed(account),
			operator,
			round.index,
			0,
			votes,
			SALT,
			None,
		);

		let closed = cast
			.workers
			.iter()
			.filter(|worker| matches!(LastChecks::<T>::get(worker), Some(LastCheck::Closed { .. })))
			.count();
		assert_eq!(closed, c.min(v) as usize);
	}

	#[benchmark]
	fn authorize_reveal(v: Linear<1, MAX_BATCH>) -> Result<(), BenchmarkError> {
		let (cast, round, votes) = to_reveal::<T>(v);
		let operator = cast.operators[0].0;
		let payload = signing_payload(
			b"kaisar/reveal",
			genesis::<T>(),
			round.seed,
			(operator, round.index, 0u16, &votes, SALT),
		);
		let call = Call::<T>::reveal {
			operator,
			round: round.index,
			batch: 0,
			votes,
			salt: SALT,
			signature: sign(CHECKER_KEY_TYPE, &cast.checker, &payload),
		};
		#[block]
		{
			call.authorize(TransactionSource::External)
				.ok_or("the call can be authorized")??;
		}
		Ok(())
	}

	#[benchmark]
	fn report_absent() {
		let cast = cast::<T>(1);
		let round = start::<T>();
		set_block::<T>(round.attest_ends().saturating_add(1));
		let reporter: T::AccountId = whitelisted_caller();

		#[extrinsic_call]
		_(RawOrigin::Signed(reporter), cast.workers[0], round.index);

		assert!(matches!(
			LastChecks::<T>::get(cast.workers[0]),
			Some(LastCheck::Closed { .. })
		));
	}

	#[benchmark]
	fn authorize_report_absent() -> Result<(), BenchmarkError> {
		let cast = cast::<T>(1);
		let round = start::<T>();
		set_block::<T>(round.attest_ends().saturating_add(1));
		let call = Call::<T>::report_absent {
			worker: cast.workers[0],
			round: round.index,
		};
		#[block]
		{
			call.authorize(TransactionSource::External)
				.ok_or("the call can be authorized")??;
		}
		Ok(())
	}

	/// Closes `c` checks in which every seat but one voted.
	#[benchmark]
	fn finalize(c: Linear<1, MAX_FINALIZE>) {
		let (cast, round, _) = to_reveal::<T>(c);
		for worker in &cast.workers {
			others_voted::<T>(*worker, cast.operators[0].0);
		}
		set_block::<T>(round.ends().saturating_add(1));
		let caller: T::AccountId = whitelisted_caller();
		let workers = BoundedVec::truncate_from(cast.workers.clone());

		#[extrinsic_call]
		_(RawOrigin::Signed(caller), workers);

		for worker in &cast.workers {
			assert!(!<Popw<T> as kaisar_primitives::Checks>::is_open(*worker));
		}
	}

	#[benchmark]
	fn authorize_finalize(c: Linear<1, MAX_FINALIZE>) -> Result<(), BenchmarkError> {
		let (cast, round, _) = to_reveal::<T>(c);
		set_block::<T>(round.ends().saturating_add(1));
		let call = Call::<T>::finalize {
			workers: BoundedVec::truncate_from(cast.workers.clone()),
		};
		#[block]
		{
			call.authorize(TransactionSource::External)
				.ok_or("the call can be authorized")??;
		}
		Ok(())
	}

	/// Starts a block without a new round, which removes `p` pages of counters and finds `u` unopened
	/// commitments in them.
	#[benchmark]
	fn on_initialize(p: Linear<0, 900>, u: Linear<0, 60>) {
		let round = start::<T>();
		let pages = p.max(u);
		for page in 0..pages {
			let mut counters = [Counters::default(); COUNTERS_PAGE as usize];
			counters[0].seats = 1;
			if page < u {
				let operator = page.saturating_mul(COUNTERS_PAGE);
				let hash = H256::zero();
				let slot = (operator, Lane::of(round.index), 0);
				counters[0].committed = 1;
				Commitments::<T>::insert(
					slot,
					Commitment {
						round: round.index,
						hash,
					},
				);
			}
			CountersOf::<T>::insert(round.index, page, counters);
		}
		let now: BlockNumberFor<T> = round.ends().saturating_add(1).into();
		frame_system::Pallet::<T>::set_block_number(now);
		NextStart::<T>::put(BlockNumber::MAX);

		#[block]
		{
			Popw::<T>::on_initialize(now);
		}

		assert_eq!(CountersOf::<T>::iter_prefix(round.index).count(), 0);
	}

	/// Starts a round.
	#[benchmark]
	fn start_round() {
		cast::<T>(1);
		start::<T>();
		let index = NextRound::<T>::get();
		let now = NextStart::<T>::get();
		set_block::<T>(now);

		#[block]
		{
			let numbers = Popw::<T>::note_numbers();
			Popw::<T>::start_round(now, numbers);
		}

		assert_eq!(
			Starting::<T>::get().map(|start| start.spot.index),
			Some(index)
		);
	}

	/// Folds the block's randomness, and seeds the round that it starts.
	#[benchmark]
	fn on_finalize() {
		cast::<T>(1);
		start::<T>();
		let now = NextStart::<T>::get();
		set_block::<T>(now);
		Popw::<T>::on_initialize(now.into());

		#[block]
		{
			Popw::<T>::on_finalize(now.into());
		}

		assert!(BlockSeeds::<T>::contains_key(now));
		assert!(Starting::<T>::get().is_none());
	}

	impl_benchmark_test_suite!(
		Popw,
		crate::mock::ExtBuilder::build_for_benchmarks(),
		crate::mock::Test
	);
}
