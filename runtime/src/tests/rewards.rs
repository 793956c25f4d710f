//! Tests of rewards with the runtime's registries: holders of licenses and stake in them are paid.

use super::on_preset;
use crate::{
	AccountId, Balance, Balances, Orders, Providers, Rewards, RuntimeOrigin, System, presets::dev,
};
use frame_support::{assert_ok, traits::Hooks, traits::fungible::Inspect};
use kaisar_math::{
	RedeemTerm,
	classes::CLASSES,
	members::{Members, part},
};
use kaisar_primitives::{
	GpuClasses, KAI, KeyProof, Plan, PoolId, Pot, Profile, Proved, Requirement, SeatResult,
	WorkerSpec,
	keys::{KeyRole, possession_payload},
};
use kaisar_test_support::frame::observers::{close_with_seat, close_with_time};
use sp_core::{Pair, ed25519, sr25519};
use sp_keyring::Sr25519Keyring;
use sp_runtime::Perbill;

fn end_epoch() {
	let current = Rewards::current_epoch();
	let next = current.start + current.length;
	System::set_block_number(next);
	Rewards::on_initialize(next);
}

fn signed(who: &AccountId) -> RuntimeOrigin {
	RuntimeOrigin::signed(who.clone())
}

/// Asserts that a member's claim is within one unit of the exact amount, and never above it.
#[track_caller]
fn near(claim: Balance, exact: Balance) {
	assert!(
		claim <= exact && exact - claim <= 1,
		"{claim} is not within a unit of {exact}"
	);
}

#[test]
fn licenses_that_are_delegated_at_genesis_share_the_first_epoch() {
	on_preset("development", || {
		for operator in 0..3 {
			let members =
				Rewards::pool_members(PoolId::Checker(operator)).expect("the pool has members");
			let licenses = u128::from(dev::LICENSES);
			assert_eq!((members.shares, members.eligible), (licenses, licenses));
		}
		System::set_block_number(1);
		(0..9).for_each(|_| close_with_seat::<Rewards>(0, 1, SeatResult::Correct));
		end_epoch();

		let (pool, checker) = (
			PoolId::Checker(0),
			AccountId::from(dev::CHECKERS[0].account),
		);
		let reward = Rewards::epoch_totals(0)
			.expect("the totals are kept")
			.checker_reward;
		let members = Perbill::from_percent(10).mul_floor(reward);
		assert_ok!(Rewards::claim_checker(signed(&checker)));
		assert_eq!(Rewards::vkai(checker.clone()), reward - members);
		assert_ok!(Rewards::claim_delegation(signed(&checker), pool));
		near(Rewards::vkai(checker.clone()), reward);
		assert_ok!(Rewards::redeem(signed(&checker), KAI, RedeemTerm::Days30));
		assert_eq!(Rewards::redemptions_of(checker)[0].pays, KAI / 4);
	});
}

#[test]
fn production_pays_and_rents_out_calibrated_classes_alone() {
	for (preset, pays_all) in [("staging", false), ("development", true), ("local", true)] {
		on_preset(preset, || {
			for class in &CLASSES {
				let reference = Rewards::class_reference(class.id).expect("each class has one");
				assert_eq!(reference, class.reference(), "{}", class.name);
				let is_paid = reference.calibrated || pays_all;
				assert_eq!(<Rewards as GpuClasses>::is_paid(class.id), is_paid);
				let price = Some(KAI);
				assert_ok!(Orders::set_price(RuntimeOrigin::root(), class.id, price));
				let requirement = Requirement {
					gpu_class: class.id,
					gpu_count: 1,
					..Default::default()
				};
				let quote = Orders::quote(requirement, 1, Plan::OnDemand);
				assert_eq!(quote.is_ok(), is_paid, "{preset}: {}", class.name);
			}
			assert!(<Rewards as GpuClasses>::is_paid(0));
		});
	}
}

#[test]
fn a_delegator_of_a_worker_is_paid_its_part() {
	on_preset("development", || {
		System::set_block_number(1);
		let (provider, bob) = (
			AccountId::from(dev::PROVIDER),
			Sr25519Keyring::Bob.to_account_id(),
		);
		let worker_key = sr25519::Pair::from_seed(&[1; 32]);
		let agent_key = ed25519::Pair::from_seed(&[2; 32]);
		let payload = possession_payload(KeyRole::Worker, System::block_hash(0), &provider);
		let spec = WorkerSpec {
			cpu_cores: 8,
			memory_gb: 16,
			disk_gb: 100,
			download_mbps: 100,
			upload_mbps: 100,
			region: *b"DE",
			..Default::default()
		};
		assert_ok!(Providers::register_worker(
			signed(&provider),
			spec,
			worker_key.public().into(),
			agent_key.public(),
			600 * KAI,
			KeyProof {
				key: worker_key.sign(&payload),
				agent: agent_key.sign(&payload),
			},
		));
		let half = Perbill::from_percent(50);
		assert_ok!(Providers::set_commission(signed(&provider), 0, half));
		assert_ok!(Providers::stake(signed(&bob), 0, 1_000 * KAI));
		let pool = PoolId::Worker(0);
		assert_eq!(
			Rewards::pool_members(pool).map(|members| members.eligible),
			Some(0)
		);
		// The commission is in force after notice of a whole epoch.
		(0..2).for_each(|_| end_epoch());
		close_with_time::<Rewards>(
			0,
			&Proved {
				idle: 50,
				rented: 0,
				stake: 1_600 * KAI,
				profile: Profile {
					bandwidth: 1,
					cpu: 1,
					..Default::default()
				},
			},
		);
		// The owner stakes more at the end of the epoch, which does not change the epoch's rewards.
		assert_ok!(Providers::stake(signed(&provider), 0, 9_000 * KAI));
		end_epoch();

		let reward = Rewards::epoch_totals(2)
			.expect("the totals are kept")
			.idle_reward;
		let stakes = Members {
			owner: 600 * KAI,
			value: 1_000 * KAI,
			shares: 1_000 * KAI,
			eligible: 1_000 * KAI,
		};
		let members = part(reward, half, &stakes);
		let (bobs, providers) = (Balances::balance(&bob), Balances::balance(&provider));
		assert_ok!(Rewards::claim_delegation(signed(&bob), pool));
		near(Balances::balance(&bob) - bobs, members);
		assert_ok!(Rewards::claim_worker(signed(&provider), 0));
		assert_eq!(Balances::balance(&provider) - providers, reward - members);
		let pot = Balances::balance(&Rewards::pot_account(Pot::Providers));
		assert!(pot >= crate::constants::EXISTENTIAL_DEPOSIT);
	});
}
