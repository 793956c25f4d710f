//! Benchmarks of the calls, of the pool's checks, and of the steps of the hooks. Each asserts its outcome.
//! The cost of closing a check, which a call may do first, is measured by Popw and added in `weights.rs`.

use crate::{Pallet as Rentals, *};
use frame_benchmarking::v2::*;
use frame_support::{
	pallet_prelude::{Authorize, TransactionSource},
	traits::{EnsureOrigin, Get, fungible::Mutate},
	weights::Weight,
};
use frame_system::RawOrigin;
use kaisar_primitives::{
	AgentKey, BlockNumber, Checks, ClientKey, CloseReason, ClosedCheck, Closing, DeployFailure,
	HOURS, Image, Issue, KAI, MAX_WORKLOAD, Market, OnClosed, OrderId, Outcome, Plan, Profile,
	Proved, Requirement, TemplateId, WorkerId, WorkerRegistry, Workload, authorized::genesis,
	keys::WORKER_KEY_TYPE, order_payload,
};
use sp_core::{H256, sr25519};
use sp_runtime::{BoundedVec, FixedU128, traits::One};

const PROFILE: Profile = Profile {
	bandwidth: 4,
	cpu: 4,
	memory: 4,
	disk: 4,
	gpu_class: 0,
	gpu_count: 0,
};
const SEED: H256 = H256([7; 32]);

fn key() -> ClientKey {
	ClientKey::from_raw([7; 32])
}

/// Returns the longest possible image reference.
fn reference() -> Reference {
	BoundedVec::truncate_from(alloc::vec![b'a'; 255])
}

fn template() -> Template {
	Template {
		args: BoundedVec::truncate_from(alloc::vec![BoundedVec::truncate_from(
			alloc::vec![b'a'; MAX_WORKLOAD as usize]
		)]),
		ports: BoundedVec::truncate_from((1..=8).collect()),
		capabilities: BoundedVec::truncate_from(alloc::vec![
			Capability::Chown;
			MAX_CAPABILITIES as usize
		]),
		metadata: Some(H256::zero()),
		..Template::of(reference())
	}
}

fn customer<T: Config>() -> T::AccountId {
	let who: T::AccountId = whitelisted_caller();
	T::Currency::mint_into(&who, 1_000_000 * KAI).expect("there is room in the supply");
	who
}

fn owner<T: Config>() -> T::AccountId {
	let who: T::AccountId = account("owner", 0, 0);
	T::Currency::mint_into(&who, 1_000_000 * KAI).expect("there is room in the supply");
	who
}

/// Gives class 0 a price, and the pot and the treasury their accounts.
fn set_up<T: Config>() {
	PriceBook::<T>::insert(
		0,
		ClassPrice {
			reference: Some(KAI),
			cost: Some(Cost {
				cost: KAI,
				multiplier: FixedU128::one(),
			}),
		},
	);
	Templates::<T>::insert(0, template());
	Rentals::<T>::found_pot().expect("there is room in the supply");
	T::Currency::mint_into(&T::Treasury::get(), KAI).expect("there is room in the supply");
}

/// Registers idle workers; the key of the first one is in the keystore.
fn idle<T: Config>(count: u32) -> sr25519::Public {
	let owner = owner::<T>();
	let first = sp_io::crypto::sr25519_generate(WORKER_KEY_TYPE, None);
	for n in 0..count {
		let key = if n == 0 {
			first
		} else {
			sp_io::crypto::sr25519_generate(WORKER_KEY_TYPE, None)
		};
		let mut agent = [1; 32];
		agent[..4].copy_from_slice(&n.to_le_bytes());
		let worker = T::Workers::benchmark_worker(&owner, key.into(), AgentKey::from_raw(agent));
		T::Workers::benchmark_verify(worker, PROFILE);
	}
	first
}

/// Places an order paid in both kinds, so that every way of refunding is taken.
fn place<T: Config>(who: &T::AccountId) -> OrderId {
	let id = NextOrderId::<T>::get();
	give::<T>(who, KAI / 2);
	Rentals::<T>::place_order(
		RawOrigin::Signed(who.clone()).into(),
		requirement(),
		Workload::of(Image::Template(0)),
		10,
		Plan::OnDemand,
		u128::MAX,
		KAI / 2,
		key(),
	)
	.expect("it can be placed");
	id
}

/// Returns the requirement of the largest machine without a GPU.
fn requirement() -> Requirement {
	Requirement {
		min_cpu: PROFILE.cpu,
		..Default::default()
	}
}

/// Matches an order, as the queue does when its turn comes.
fn match_now<T: Config>(id: OrderId) {
	let order = record::<T>(id);
	Rentals::<T>::match_order(id, order, SEED).expect("it can be matched");
}

fn give<T: Config>(who: &T::AccountId, amount: u128) {
	T::Currency::mint_into(&Rentals::<T>::pot(), amount).expect("there is room in the supply");
	Credits::<T>::insert(who, amount);
	TotalCredits::<T>::mutate(|total| *total += amount);
}

/// Places and matches an order; the key of its worker is in the keystore.
fn matched<T: Config>(who: &T::AccountId) -> (OrderId, WorkerId, sr25519::Public) {
	set_up::<T>();
	let key = idle::<T>(1);
	let id = place::<T>(who);
	match_now::<T>(id);
	let worker = record::<T>(id).worker.expect("a worker fits");
	(id, worker, key)
}

/// Places, matches and confirms an order.
fn active<T: Config>(who: &T::AccountId) -> (OrderId, WorkerId, sr25519::Public) {
	let (id, worker, key) = matched::<T>(who);
	let origin = RawOrigin::Signed(owner::<T>()).into();
	Rentals::<T>::confirm_deployment(origin, id, None).expect("it is deploying");
	(id, worker, key)
}

fn record<T: Config>(id: OrderId) -> OrderOf<T> {
	Orders::<T>::get(id).expect("there is such an order")
}

fn closed_for<T: Config>(id: OrderId) -> Option<CloseReason> {
	match Orders::<T>::get(id)?.state {
		OrderState::Closed { reason } => Some(reason),
		_ => None,
	}
}

fn pass<T: Config>(blocks: BlockNumber) {
	let now = Rentals::<T>::now() + blocks;
	frame_system::Pallet::<T>::set_block_number(now.into());
}

fn admin<T: Config>() -> Result<T::RuntimeOrigin, BenchmarkError> {
	T::AdminOrigin::try_successful_origin().map_err(|_| BenchmarkError::Weightless)
}

#[benchmarks]
mod benchmarks {
	use super::*;

	#[benchmark]
	fn place_order() {
		let who = customer::<T>();
		set_up::<T>();
		give::<T>(&who, KAI);
		#[extrinsic_call]
		_(
			RawOrigin::Signed(who),
			requirement(),
			Workload::of(Image::Template(0)),
			10,
			Plan::OnDemand,
			u128::MAX,
			KAI,
			key(),
		);
		assert_eq!(record::<T>(0).state, OrderState::Matching);
	}

	#[benchmark]
	fn confirm_deployment() {
		let (id, _, _) = matched::<T>(&customer::<T>());
		#[extrinsic_call]
		_(RawOrigin::Signed(owner::<T>()), id, None);
		assert_eq!(record::<T>(id).state, OrderState::Active);
	}

	#[benchmark]
	fn fail_deployment() {
		let (id, _, _) = matched::<T>(&customer::<T>());
		#[extrinsic_call]
		_(
			RawOrigin::Signed(owner::<T>()),
			id,
			DeployFailure::ImageUnavailable,
			None,
		);
		assert_eq!(closed_for::<T>(id), Some(CloseReason::ImageFailed));
	}

	#[benchmark]
	fn report_exit() -> Result<(), BenchmarkError> {
		let who = customer::<T>();
		let (id, _, _) = active::<T>(&who);
		Rentals::<T>::do_report_issue(who, id, Issue::Other)?;
		// Some time is proved and not paid.
		Orders::<T>::mutate(id, |order| {
			if let Some(order) = order {
				order.proved = HOURS;
			}
		});
		#[extrinsic_call]
		_(RawOrigin::Signed(owner::<T>()), id, 1, None);
		assert_eq!(closed_for::<T>(id), Some(CloseReason::Exited));
		assert!(record::<T>(id).ledger.paid > 0);
		Ok(())
	}

	#[benchmark]
	fn authorize_worker() {
		let (id, _, key) = matched::<T>(&customer::<T>());
		let payload = order_payload(b"kaisar/confirm_deployment", genesis::<T>(), (id,));
		let signature = sp_io::crypto::sr25519_sign(WORKER_KEY_TYPE, &key, &payload)
			.expect("the key is in the keystore");
		let call = Call::<T>::confirm_deployment {
			order: id,
			signature: Some(signature),
		};
		let taken;
		#[block]
		{
			taken = call
				.authorize(TransactionSource::External)
				.expect("the call can be authorized");
		}
		assert!(taken.is_ok());
	}

	#[benchmark]
	fn extend_order() {
		let who = customer::<T>();
		let (id, _, _) = active::<T>(&who);
		#[extrinsic_call]
		_(RawOrigin::Signed(who), id, 5, u128::MAX);
		assert_eq!(record::<T>(id).hours(), 15);
	}

	#[benchmark]
	fn cancel_order() {
		// The worst case: money in both kinds, some of it for the treasury, and a worker to free.
		let who = customer::<T>();
		let (id, _, _) = matched::<T>(&who);
		#[extrinsic_call]
		_(RawOrigin::Signed(who), id);
		assert_eq!(closed_for::<T>(id), Some(CloseReason::Cancelled));
	}

	#[benchmark]
	fn set_client_key() {
		let who = customer::<T>();
		let (id, _, _) = active::<T>(&who);
		let new = ClientKey::from_raw([8; 32]);
		#[extrinsic_call]
		_(RawOrigin::Signed(who), id, new);
		assert!(Workloads::<T>::get(id).is_some_and(|workload| workload.client_key == new));
	}

	#[benchmark]
	fn report_issue() {
		let who = customer::<T>();
		let (id, _, _) = active::<T>(&who);
		#[extrinsic_call]
		_(RawOrigin::Signed(who), id, Issue::NotServing);
		assert!(record::<T>(id).issue.is_some());
	}

	#[benchmark]
	fn close_order() {
		let (id, _, _) = matched::<T>(&customer::<T>());
		pass::<T>(Rentals::<T>::deploy_deadline() + 1);
		#[extrinsic_call]
		_(RawOrigin::Signed(owner::<T>()), id);
		assert_eq!(closed_for::<T>(id), Some(CloseReason::DeployFailed));
	}

	#[benchmark]
	fn set_price() -> Result<(), BenchmarkError> {
		let origin = admin::<T>()?;
		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, 5, Some(KAI));
		assert_eq!(
			PriceBook::<T>::get(5).and_then(|entry| entry.reference),
			Some(KAI)
		);
		Ok(())
	}

	#[benchmark]
	fn set_contingency() -> Result<(), BenchmarkError> {
		let origin = admin::<T>()?;
		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, true);
		assert!(Contingency::<T>::get());
		Ok(())
	}

	#[benchmark]
	fn set_oracle() -> Result<(), BenchmarkError> {
		let (origin, who) = (admin::<T>()?, owner::<T>());
		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, Some(who.clone()));
		assert_eq!(Oracle::<T>::get(), Some(who));
		Ok(())
	}

	#[benchmark]
	fn set_template() -> Result<(), BenchmarkError> {
		let origin = admin::<T>()?;
		let id: TemplateId = 1;
		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, id, Some(template()));
		assert_eq!(Templates::<T>::get(id), Some(template()));
		Ok(())
	}

	#[benchmark]
	fn match_orders() {
		let used;
		#[block]
		{
			used = Rentals::<T>::match_orders(Rentals::<T>::now(), Some(SEED), Weight::MAX);
		}
		assert!(used.all_gt(Weight::zero()));
	}

	/// Reads an entry whose order was canceled.
	#[benchmark]
	fn match_look() {
		let who = customer::<T>();
		set_up::<T>();
		let id = place::<T>(&who);
		Rentals::<T>::do_cancel(who, id).expect("it can be canceled");
		pass::<T>(matching::MATCH_DELAY);
		#[block]
		{
			Rentals::<T>::match_orders(Rentals::<T>::now(), Some(SEED), Weight::MAX);
		}
		assert_eq!(Rentals::<T>::waiting(), 0);
	}

	/// Draws `d` workers and rents the best of them. The cost of touching and reviewing workers is added in
	/// `weights.rs`.
	#[benchmark]
	fn match_order(d: Linear<1, 8>) {
		set_up::<T>();
		idle::<T>(d);
		let id = place::<T>(&customer::<T>());
		#[block]
		{
			match_now::<T>(id);
		}
		assert_eq!(record::<T>(id).state, OrderState::Deploying);
	}

	#[benchmark]
	fn agenda() {
		let now = Rentals::<T>::now();
		AgendaCursor::<T>::put(Cursor {
			block: now,
			position: 0,
		});
		#[block]
		{
			Rentals::<T>::run_agenda(now, Weight::MAX);
		}
		assert_eq!(
			AgendaCursor::<T>::get().map(|cursor| cursor.block),
			Some(now + 1)
		);
	}

	#[benchmark]
	fn agenda_block() {
		let now = Rentals::<T>::now();
		pass::<T>(1);
		// One empty block behind the running one.
		AgendaCursor::<T>::put(Cursor {
			block: now,
			position: 0,
		});
		#[block]
		{
			Rentals::<T>::run_agenda(now + 1, Weight::MAX);
		}
		assert_eq!(
			AgendaCursor::<T>::get().map(|cursor| cursor.block),
			Some(now + 2)
		);
	}

	#[benchmark]
	fn agenda_stale() {
		let (id, _, _) = active::<T>(&customer::<T>());
		// The entry of its deployment deadline is stale.
		let block = record::<T>(id).deploy_by + 1;
		AgendaCursor::<T>::put(Cursor { block, position: 0 });
		#[block]
		{
			Rentals::<T>::run_agenda(block, Weight::MAX);
		}
		assert_eq!(record::<T>(id).state, OrderState::Active);
		assert_eq!(AgendaLen::<T>::get(block), 0);
	}

	#[benchmark]
	fn agenda_forget() {
		let who = customer::<T>();
		set_up::<T>();
		let id = place::<T>(&who);
		Rentals::<T>::do_cancel(who, id).expect("it can be canceled");
		pass::<T>(Rentals::<T>::history());
		AgendaCursor::<T>::put(Cursor {
			block: record::<T>(id).wake,
			position: 0,
		});
		#[block]
		{
			Rentals::<T>::run_agenda(Rentals::<T>::now(), Weight::MAX);
		}
		assert!(!Orders::<T>::contains_key(id));
	}

	#[benchmark]
	fn agenda_review() {
		let (id, worker, _) = matched::<T>(&customer::<T>());
		pass::<T>(Rentals::<T>::deploy_deadline() + 1);
		Rentals::<T>::wake(id).expect("its deadline is over");
		assert!(T::Workers::candidate(worker).is_none());
		pass::<T>(Rentals::<T>::bar_blocks());
		#[block]
		{
			Rentals::<T>::wake(id).expect("the bar is over");
		}
		assert!(record::<T>(id).wake > Rentals::<T>::now());
	}

	#[benchmark]
	fn agenda_end() {
		let (id, _, _) = active::<T>(&customer::<T>());
		pass::<T>(10 * HOURS);
		#[block]
		{
			Rentals::<T>::wake(id).expect("it has ended");
		}
		assert_eq!(record::<T>(id).state, OrderState::Closing);
	}

	#[benchmark]
	fn agenda_other() {
		let (id, _, _) = matched::<T>(&customer::<T>());
		pass::<T>(Rentals::<T>::deploy_deadline() + 1);
		#[block]
		{
			Rentals::<T>::wake(id).expect("its deadline is over");
		}
		assert_eq!(closed_for::<T>(id), Some(CloseReason::DeployFailed));
	}

	/// Closes a check with the maximum effect: proved time is paid, and the order is over.
	#[benchmark]
	fn on_order_checked() {
		let who = customer::<T>();
		let (id, worker, _) = active::<T>(&who);
		pass::<T>(HOURS);
		T::Currency::mint_into(&who, T::IssueBond::get()).expect("there is room in the supply");
		Rentals::<T>::do_report_issue(who.clone(), id, Issue::Other).expect("it runs");
		Rentals::<T>::do_cancel(who, id).expect("it runs");
		let closing = Closing {
			round: T::Checks::next_round(),
			round_start: Rentals::<T>::now(),
			outcome: Outcome::Online {
				profile: Some(PROFILE),
				service: true,
			},
			rented: true,
			full: false,
			credit: HOURS,
			false_proof: false,
			slashes: false,
		};
		let proved = Proved {
			idle: 0,
			rented: HOURS,
			stake: KAI,
			profile: PROFILE,
		};
		#[block]
		{
			Rentals::<T>::on_closed(&ClosedCheck {
				worker,
				order: Some(id),
				closing: &closing,
				proved,
				seats: &[],
			});
		}
		assert_eq!(closed_for::<T>(id), Some(CloseReason::Cancelled));
		assert!(record::<T>(id).ledger.paid > 0);
	}

	impl_benchmark_test_suite!(Pallet, crate::mock::ExtBuilder.build(), crate::mock::Test);
}
