//! Benchmarks of the calls, each in its most expensive case.

use crate::{Pallet as Checkers, *};
use frame_benchmarking::v2::*;
use frame_support::traits::fungible::Unbalanced;
use frame_system::RawOrigin;
use kaisar_primitives::{
	IsDelegated, Seats,
	keys::{CHECKER_KEY_TYPE, possession_payload, receipt_payload},
};
use sp_runtime::traits::Saturating;

/// Returns an account that can pay the deposit a few times.
fn funded<T: Config>(name: &'static str) -> T::AccountId {
	let who = account::<T::AccountId>(name, 0, 0);
	let funds = T::Deposit::get()
		.saturating_add(T::Currency::minimum_balance())
		.saturating_mul(4u32.into());
	T::Currency::increase_balance(&who, funds, Precision::Exact).expect("it can be funded");
	who
}

/// Returns new keys of the node's keystore, and the proof that `who` holds them.
fn keys<T: Config>(who: &T::AccountId) -> (CheckerKey, AgentKey, KeyProof) {
	let agent_type = sp_core::crypto::KeyTypeId(*b"kagt");
	let key = sp_io::crypto::sr25519_generate(CHECKER_KEY_TYPE, None);
	let agent = sp_io::crypto::ed25519_generate(agent_type, None);
	let genesis = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::from(0u32));
	let payload = possession_payload(KeyRole::Checker, genesis, who);
	let proof = KeyProof {
		key: sp_io::crypto::sr25519_sign(CHECKER_KEY_TYPE, &key, &payload).expect("it is there"),
		agent: sp_io::crypto::ed25519_sign(agent_type, &agent, &payload).expect("it is there"),
	};
	(key.into(), agent, proof)
}

fn operator<T: Config>(name: &'static str) -> (T::AccountId, OperatorId) {
	let who = funded::<T>(name);
	let (key, agent, proof) = keys::<T>(&who);
	let origin = RawOrigin::Signed(who.clone()).into();
	Checkers::<T>::register_checker(origin, key, agent, Perbill::from_percent(10), proof)
		.expect("it can be registered");
	let number = <Checkers<T> as Seats<T::AccountId>>::number(&who).expect("it was registered");
	(who, number)
}

/// Returns a license of `holder`, in a full page.
fn license<T: Config>(holder: &T::AccountId) -> LicenseId {
	let license = T::Licenses::mint(holder).expect("it can be minted");
	let (page, _) = place(license);
	Pages::<T>::mutate(
		page,
		|entries| {
			while entries.try_push(Entry::default()).is_ok() {}
		},
	);
	license
}

/// Returns an operator with a license that is banned for two strikes, of four votes in round 0 and of one
/// vote on worker [`MAX_SERVED`] in round 1, and the receipt for that vote.
fn struck<T: Config>() -> Result<(T::AccountId, OperatorId, AgentSignature), BenchmarkError> {
	let (who, number) = operator::<T>("operator");
	let license = license::<T>(&who);
	Checkers::<T>::delegate_license(RawOrigin::Signed(who.clone()).into(), license, who.clone())?;

	let agent_type = sp_core::crypto::KeyTypeId(*b"kagt");
	let agent = sp_io::crypto::ed25519_generate(agent_type, None);
	let genesis = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::from(0u32));
	let key = Operators::<T>::get(number)
		.expect("it is registered")
		.keys
		.now
		.value;
	let payload = receipt_payload(genesis, 1, H256::zero(), MAX_SERVED, &key.checker_key());
	let receipt = sp_io::crypto::ed25519_sign(agent_type, &agent, &payload).expect("it is there");
	let strike = |round: RoundIndex, workers: core::ops::Range<WorkerId>| Strike {
		operator: number,
		round,
		at: T::Time::now(),
		block: Checkers::<T>::block(),
		seed: H256::zero(),
		key: key.checker,
		votes: BoundedVec::truncate_from(
			workers.map(|worker| LoneVote { worker, agent }).collect(),
		),
	};
	let strikes = alloc::vec![
		strike(0, 0..MAX_SERVED),
		strike(1, MAX_SERVED..MAX_SERVED.saturating_add(1)),
	];
	for strike in &strikes {
		for vote in &strike.votes {
			LoneVotes::<T>::insert((strike.round, vote.worker), &who);
		}
	}
	let until = banned_until(strikes.iter().map(|strike| strike.at)).expect("two ban");
	StrikesOf::<T>::insert(&who, Strikes::truncate_from(strikes));
	Checkers::<T>::mutate_operator(number, |record| {
		record.ban = Some(until);
		record.redraw(T::Checks::next_round(), &T::Checks::in_flight());
		Ok(())
	})?;
	assert_eq!(active::<T>(), 0);
	Ok((who, number, receipt))
}

fn active<T: Config>() -> u32 {
	ActiveLicenses::<T>::get()
}

#[benchmarks]
mod benchmarks {
	use super::*;

	#[benchmark]
	fn register_checker() {
		let who = funded::<T>("operator");
		let (key, agent, proof) = keys::<T>(&who);
		#[extrinsic_call]
		_(
			RawOrigin::Signed(who.clone()),
			key.clone(),
			agent,
			Perbill::from_percent(10),
			proof,
		);
		let number = <Checkers<T> as Seats<T::AccountId>>::number(&who);
		assert!(number.is_some());
		assert_eq!(<Checkers<T> as Seats<T::AccountId>>::by_key(&key), number);
	}

	#[benchmark]
	fn set_checker_keys() {
		let (who, number) = operator::<T>("operator");
		let (key, agent, proof) = keys::<T>(&who);
		#[extrinsic_call]
		_(RawOrigin::Signed(who), key.clone(), agent, proof);
		assert_eq!(
			<Checkers<T> as Seats<T::AccountId>>::by_key(&key),
			Some(number)
		);
	}

	#[benchmark]
	fn set_commission() {
		let (who, number) = operator::<T>("operator");
		#[extrinsic_call]
		_(RawOrigin::Signed(who), Perbill::one());
		let record = Operators::<T>::get(number).expect("it is registered");
		assert_eq!(
			record.commission.announced(0).map(|(_, next)| next),
			Some(Perbill::one())
		);
	}

	#[benchmark]
	fn set_auto_accept() {
		let (who, number) = operator::<T>("operator");
		#[extrinsic_call]
		_(RawOrigin::Signed(who), true);
		assert!(
			Operators::<T>::get(number)
				.expect("it is registered")
				.auto_accept
		);
	}

	/// Accepted at once, and delegated before to an operator that has deregistered.
	#[benchmark]
	fn delegate_license() -> Result<(), BenchmarkError> {
		let holder = funded::<T>("holder");
		let license = license::<T>(&holder);
		let (old, _) = operator::<T>("old");
		Checkers::<T>::set_auto_accept(RawOrigin::Signed(old.clone()).into(), true)?;
		let signed = RawOrigin::Signed(holder.clone());
		Checkers::<T>::delegate_license(signed.into(), license, old.clone())?;
		Checkers::<T>::deregister_checker(RawOrigin::Signed(old).into())?;
		let (who, number) = operator::<T>("operator");
		Checkers::<T>::set_auto_accept(RawOrigin::Signed(who.clone()).into(), true)?;
		#[extrinsic_call]
		_(RawOrigin::Signed(holder), license, who);
		assert_eq!(
			Delegations::<T>::get(license).map(|d| (d.operator, d.accepted)),
			Some((number, true))
		);
		assert_eq!(active::<T>(), 1);
		Ok(())
	}

	#[benchmark]
	fn accept_delegation() -> Result<(), BenchmarkError> {
		let holder = funded::<T>("holder");
		let license = license::<T>(&holder);
		let (who, number) = operator::<T>("operator");
		let signed = RawOrigin::Signed(holder.clone());
		Checkers::<T>::delegate_license(signed.into(), license, who.clone())?;
		#[extrinsic_call]
		_(RawOrigin::Signed(who), license);
		assert_eq!(Members::<T>::get(number, holder), 1);
		assert_eq!(active::<T>(), 1);
		Ok(())
	}

	#[benchmark]
	fn reject_delegation() -> Result<(), BenchmarkError> {
		let holder = funded::<T>("holder");
		let license = license::<T>(&holder);
		let (who, _) = operator::<T>("operator");
		let signed = RawOrigin::Signed(holder);
		Checkers::<T>::delegate_license(signed.into(), license, who.clone())?;
		#[extrinsic_call]
		_(RawOrigin::Signed(who), license);
		assert!(!Checkers::<T>::is_delegated(license));
		Ok(())
	}

	#[benchmark]
	fn revoke_delegation() -> Result<(), BenchmarkError> {
		let holder = funded::<T>("holder");
		let license = license::<T>(&holder);
		let (who, _) = operator::<T>("operator");
		Checkers::<T>::set_auto_accept(RawOrigin::Signed(who.clone()).into(), true)?;
		let signed = RawOrigin::Signed(holder.clone());
		Checkers::<T>::delegate_license(signed.into(), license, who)?;
		assert_eq!(active::<T>(), 1);
		#[extrinsic_call]
		_(RawOrigin::Signed(holder), license);
		assert!(!Checkers::<T>::is_delegated(license));
		assert_eq!(active::<T>(), 0);
		Ok(())
	}

	#[benchmark]
	fn go_offline() -> Result<(), BenchmarkError> {
		let (who, number) = operator::<T>("operator");
		let license = license::<T>(&who);
		let signed = RawOrigin::Signed(who.clone());
		Checkers::<T>::delegate_license(signed.into(), license, who.clone())?;
		#[extrinsic_call]
		_(RawOrigin::Signed(who));
		let record = Operators::<T>::get(number).expect("it is registered");
		assert!(!record.is_online());
		assert_eq!(active::<T>(), 0);
		Ok(())
	}

	#[benchmark]
	fn go_online() -> Result<(), BenchmarkError> {
		let (who, number) = operator::<T>("operator");
		let license = license::<T>(&who);
		let signed = RawOrigin::Signed(who.clone());
		Checkers::<T>::delegate_license(signed.into(), license, who.clone())?;
		Checkers::<T>::go_offline(RawOrigin::Signed(who.clone()).into())?;
		#[extrinsic_call]
		_(RawOrigin::Signed(who));
		let record = Operators::<T>::get(number).expect("it is registered");
		assert!(record.is_online());
		assert_eq!(active::<T>(), 1);
		Ok(())
	}

	#[benchmark]
	fn deregister_checker() -> Result<(), BenchmarkError> {
		let (who, _) = operator::<T>("operator");
		let license = license::<T>(&who);
		let signed = RawOrigin::Signed(who.clone());
		Checkers::<T>::delegate_license(signed.into(), license, who.clone())?;
		#[extrinsic_call]
		_(RawOrigin::Signed(who.clone()));
		assert_eq!(<Checkers<T> as Seats<T::AccountId>>::number(&who), None);
		assert_eq!(active::<T>(), 0);
		Ok(())
	}

	/// Annuls one of the two strikes that banned the operator, whose license is then in the draw again.
	#[benchmark]
	fn annul_strike() -> Result<(), BenchmarkError> {
		let (who, number, receipt) = struck::<T>()?;
		#[extrinsic_call]
		_(RawOrigin::Signed(who.clone()), MAX_SERVED, 1, receipt);
		assert_eq!(StrikesOf::<T>::get(&who).len(), 1);
		let record = Operators::<T>::get(number).expect("it is registered");
		assert!(record.is_online());
		assert_eq!(active::<T>(), 1);
		Ok(())
	}

	/// Prunes an operator with members, each of one license, that nothing else needs.
	#[benchmark]
	fn prune_checker(m: Linear<0, { MAX_PRUNED - 1 }>) -> Result<(), BenchmarkError> {
		let (who, number) = operator::<T>("operator");
		Checkers::<T>::set_auto_accept(RawOrigin::Signed(who.clone()).into(), true)?;
		for index in 0..m {
			let holder = account::<T::AccountId>("holder", index, 0);
			let license = T::Licenses::mint(&holder)?;
			let signed = RawOrigin::Signed(holder);
			Checkers::<T>::delegate_license(signed.into(), license, who.clone())?;
		}
		Checkers::<T>::deregister_checker(RawOrigin::Signed(who.clone()).into())?;
		T::RetiredPools::benchmark_expire();
		Operators::<T>::mutate(number, |record| {
			// As if no round in which it was registered were still running.
			if let Some(gone) = record.as_mut().and_then(|record| record.gone.as_mut()) {
				gone.from_round = 0;
			}
		});
		#[extrinsic_call]
		_(RawOrigin::Signed(who), number);
		assert!(!Operators::<T>::contains_key(number));
		assert_eq!(Members::<T>::iter_prefix(number).count(), 0);
		Ok(())
	}

	#[benchmark]
	fn authorize_annul_strike() -> Result<(), BenchmarkError> {
		let (_, _, receipt) = struck::<T>()?;
		let authorized;
		#[block]
		{
			let source = sp_runtime::transaction_validity::TransactionSource::External;
			authorized = Checkers::<T>::authorize_annul_strike(source, &MAX_SERVED, &1, &receipt);
		}
		assert!(authorized.is_ok());
		Ok(())
	}

	impl_benchmark_test_suite!(Checkers, mock::ExtBuilder::build(), mock::Test);
}
